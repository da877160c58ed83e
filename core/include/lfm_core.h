/* A Liquid LFM bundle on a phone: sessions, tokens, chats and answers behind a C ABI.
 *
 * Kotlin and Swift wrap these functions and add nothing of their own; names, options, events and
 * errors are those of the Python SDK, which is the reference (tests/vectors/).
 *
 * Conventions
 * - Text is UTF-8 and ends in a zero byte; ids are int32_t; positions and counts are int64_t.
 * - A function returns LFM_OK or why it failed; lfm_last_error has the message, one line, the same
 *   as Python's. Nothing throws, nothing calls back, nothing prints.
 * - Handles are numbers that are never given twice. 0 is none. lfm_close takes any of them, twice
 *   too; whatever else is asked of a closed one is LFM_INVALID_REQUEST. A handle that others stand
 *   on may be closed before them: what they need lives as long as they do.
 * - What is variable in length goes into a buffer of the caller: `size` is its room, and `*needed`
 *   what the answer takes, with the zero byte of a text. LFM_BUFFER says that it did not fit;
 * nothing has changed then, and the same call with a larger buffer gives the same answer. `buffer`
 * may be null where `size` is 0.
 * - A model may be used by several threads, a session or a conversation by one at a time; lfm_stop
 *   and lfm_close by any thread at any time.
 * - Structured values are JSON: options as the fields of Python's AnswerOptions, messages and tools
 *   in OpenAI's form. A field that is absent or null is its default; an unknown one is an error.
 */
#ifndef LFM_CORE_H_
#define LFM_CORE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define LFM_CORE_API __declspec(dllexport)
#else
#define LFM_CORE_API __attribute__((visibility("default")))
#endif

typedef uint64_t LfmModel;
typedef uint64_t LfmSession;
typedef uint64_t LfmConversation;
typedef uint64_t LfmEvents; /* an answer, a check or a proof, whose events lfm_next gives */
typedef uint64_t LfmHandle; /* any of them */

/* The kinds of errors, one for each class of Python's. */
typedef enum LfmStatus {
  LFM_OK = 0,
  LFM_END = 1,    /* lfm_next: there are no more events */
  LFM_BUFFER = 2, /* the buffer is too small; see `needed` */
  LFM_BUNDLE = 10,
  LFM_UNSUPPORTED_BUNDLE = 11,
  LFM_INTEGRITY = 12,
  LFM_INVALID_REQUEST = 13,
  LFM_UNKNOWN_TOKEN = 14,
  LFM_CONTEXT_FULL = 15,
  LFM_SESSION_FILE = 16,
  LFM_SESSION_TAKEN = 17,
  LFM_TEMPLATE = 18,
  LFM_NO_MEMORY = 19,
  LFM_FAILED = 20 /* a bug of ours */
} LfmStatus;

/* ---- The library ---- */

/* "1.1": the major number changes with what exists here, the minor one with what is added. */
LFM_CORE_API const char* lfm_core_version(void);

/* The message of this thread's last failed call; it stays until the next one fails. */
LFM_CORE_API const char* lfm_last_error(void);

/* How many handles are open: 0 where nothing leaks. */
LFM_CORE_API int64_t lfm_open_handles(void);

/* Where ONNX Runtime's library lies. To be called before the first model is opened, unless it is
 * linked in or stands where the system looks for libraries. LFM_BUNDLE where it does not load. */
LFM_CORE_API LfmStatus lfm_use_onnxruntime(const char* path);

/* ---- Bundles ---- */

/* What a bundle needs, before anything of it is loaded: {"weights", "state", "scratch", "total"} in
 * bytes for a session of `context` tokens (0: the default), {"context", "max_context",
 * "bytes_per_token", "family", "target", "chat"}. */
LFM_CORE_API LfmStatus lfm_bundle_plan(const char* folder, int64_t context, char* buffer,
                                       size_t size, size_t* needed);

/* Hashes every file: events {"type": "progress", "what", "done", "total"} in bytes, then LFM_END,
 * or LFM_INTEGRITY for a file that differs. */
LFM_CORE_API LfmStatus lfm_bundle_check(const char* folder, LfmEvents* events);

/* ---- Models ---- */

/* Opens a bundle and makes it ready to run. `options`: {"threads": N} or null; by default one
 * thread per physical core, on phones one per core that is not of the slowest kind. */
LFM_CORE_API LfmStatus lfm_model_open(const char* folder, const char* options, LfmModel* model);

/* {"folder", "digest", "family", "target", "vocab_size", "max_context", "default_context",
 * "threads", "isa", "prefetch_bytes", "onnxruntime", "eos_token_ids", "sampling": {...the bundle's
 * defaults...}, "text": null or why it has no tokenizer, "chat": null or why it takes no chat}. */
LFM_CORE_API LfmStatus lfm_model_info(LfmModel model, char* buffer, size_t size, size_t* needed);

/* Replays the golden vectors: events {"type": "progress", "what", "done", "total"} in positions,
 * then
 * {"type": "golden", "passed": true, "worst", "tolerance"} and LFM_END, or LFM_INTEGRITY. */
LFM_CORE_API LfmStatus lfm_model_verify(LfmModel model, LfmEvents* events);

/* ---- Tokens ---- */

/* The ids of a text of `length` bytes. With `special` not 0, the text of a special token is that
 * token, and what the tokenizer puts before a text is put before it. `count` is how many there are,
 * also where LFM_BUFFER says that more than `size` are. */
LFM_CORE_API LfmStatus lfm_encode(LfmModel model, const char* text, int64_t length, int32_t special,
                                  int32_t* ids, int64_t size, int64_t* count);

/* The text of ids, special tokens included; bytes that are no UTF-8 become U+FFFD. */
LFM_CORE_API LfmStatus lfm_decode(LfmModel model, const int32_t* ids, int64_t count, char* buffer,
                                  size_t size, size_t* needed);

/* The ids of a prompt. `request`: {"messages", "tools", "template_options", "clock":
 * "YYYY-MM-DDTHH:MM:SS", "trust_markers"}; the last four may be left out. */
LFM_CORE_API LfmStatus lfm_prompt(LfmModel model, const char* request, int32_t* ids, int64_t size,
                                  int64_t* count);

/* The tool calls in an answer of `length` bytes: [{"name", "arguments"}]. `tools`: a JSON list, or
 * null. */
LFM_CORE_API LfmStatus lfm_parse_tool_calls(const char* text, int64_t length, const char* tools,
                                            char* buffer, size_t size, size_t* needed);

/* The events of an answer that was written before. `answer`: {"special_tokens": {text: id},
 * "in_reasoning", "tools", "tokens": [[id, text]]}; what lfm_next would have given, as a list. */
LFM_CORE_API LfmStatus lfm_split_events(const char* answer, char* buffer, size_t size,
                                        size_t* needed);

/* ---- Sessions ---- */

/* An empty session of `context` tokens; 0: the smaller of 4096 and the bundle's most. */
LFM_CORE_API LfmStatus lfm_session_open(LfmModel model, int64_t context, LfmSession* session);

/* {"capacity", "position", "to_replay"}. */
LFM_CORE_API LfmStatus lfm_session_info(LfmSession session, char* buffer, size_t size,
                                        size_t* needed);

/* The tokens that it holds. */
LFM_CORE_API LfmStatus lfm_session_ids(LfmSession session, int32_t* ids, int64_t size,
                                       int64_t* count);

/* Appends tokens; `logits` [vocab_size] takes those of the last one, or is null. */
LFM_CORE_API LfmStatus lfm_session_prefill(LfmSession session, const int32_t* ids, int64_t count,
                                           float* logits);

/* Forgets the tokens from `position` on; the next run reads a few of those before it again. */
LFM_CORE_API LfmStatus lfm_session_rewind(LfmSession session, int64_t position);

/* Goes to the longest beginning of `ids` that it holds; `*kept` of them need not be read again. */
LFM_CORE_API LfmStatus lfm_session_resume(LfmSession session, const int32_t* ids, int64_t count,
                                          int64_t* kept);

/* A session of its own that holds the same. */
LFM_CORE_API LfmStatus lfm_session_fork(LfmSession session, LfmSession* fork);

/* Writes what it holds, and reads it: the files of Python's Session.save. `context` 0: that of the
 * saved session. */
LFM_CORE_API LfmStatus lfm_session_save(LfmSession session, const char* path);
LFM_CORE_API LfmStatus lfm_session_load(LfmModel model, const char* path, int64_t context,
                                        LfmSession* session);

/* ---- Answers ---- */

/* Continues a prompt: {"text": "..."} or {"ids": [...]}, with the options beside it
 * ({"text": "Once", "max_tokens": 40}; token ids as names of `logit_bias`, {"12": -1}). Its events
 * are
 * {"type": "progress", "what": "prefill", "done", "total"} between two runs of a prompt,
 * {"type": "text", "text"}, and last
 * {"type": "end", "reason", "usage": {"reused", "processed", "generated", "proposed", "accepted",
 * "reasoning"}, "timings": {"time_to_first_token", "total"}}. */
LFM_CORE_API LfmStatus lfm_generate(LfmSession session, const char* request, LfmEvents* events);

/* The next event of an answer, a check or a proof; LFM_END behind the last. It is here that the
 * model runs: one call goes up to the next event. An error ends the events. */
LFM_CORE_API LfmStatus lfm_next(LfmEvents events, char* buffer, size_t size, size_t* needed);

/* Ends an answer at the next token, as "cancelled"; a check just ends, by LFM_END. From any thread.
 */
LFM_CORE_API LfmStatus lfm_stop(LfmHandle events);

/* ---- Conversations ---- */

/* `setting`: {"system", "tools", "template_options", "clock", "messages", "context"}; null: none.
 * A context is 1 or more: its default is null, as Python's None. */
LFM_CORE_API LfmStatus lfm_conversation_open(LfmModel model, const char* setting,
                                             LfmConversation* conversation);

/* Says `message`, a JSON string or a list of messages, and answers. Events, besides those of
 * lfm_generate: {"type": "reasoning", "text"}, {"type": "tool_call", "name", "arguments"},
 * {"type": "invalid_tool_call", "text", "message"}. Messages count once "end" has come. */
LFM_CORE_API LfmStatus lfm_conversation_send(LfmConversation conversation, const char* message,
                                             const char* options, LfmEvents* events);

/* Answers the last message anew. */
LFM_CORE_API LfmStatus lfm_conversation_regenerate(LfmConversation conversation,
                                                   const char* options, LfmEvents* events);

/* Says `text` in the user's turn `turn` (from 0; negative: from the last), forgets what followed.
 */
LFM_CORE_API LfmStatus lfm_conversation_edit(LfmConversation conversation, int64_t turn,
                                             const char* text, const char* options,
                                             LfmEvents* events);

/* LFM_OK where lfm_conversation_send would take these options, whatever is said. */
LFM_CORE_API LfmStatus lfm_conversation_check(LfmConversation conversation, const char* options);

/* Reads now what every next turn begins with, such as the system prompt and the tools: `*read`
 * tokens, 0 where the session held them. A file that is saved then has read it already. */
LFM_CORE_API LfmStatus lfm_conversation_warm(LfmConversation conversation, int64_t* read);

/* One that goes on by itself from here. */
LFM_CORE_API LfmStatus lfm_conversation_fork(LfmConversation conversation, LfmConversation* fork);

/* All that was said, as a JSON list of messages; and another list instead of it. */
LFM_CORE_API LfmStatus lfm_conversation_messages(LfmConversation conversation, char* buffer,
                                                 size_t size, size_t* needed);
LFM_CORE_API LfmStatus lfm_conversation_set_messages(LfmConversation conversation,
                                                     const char* messages);

/* The session that has read them; to be closed like any other handle. */
LFM_CORE_API LfmStatus lfm_conversation_session(LfmConversation conversation, LfmSession* session);

/* Files of Python's Conversation.save. `context` 0: that of the saved session. */
LFM_CORE_API LfmStatus lfm_conversation_save(LfmConversation conversation, const char* path);
LFM_CORE_API LfmStatus lfm_conversation_load(LfmModel model, const char* path, int64_t context,
                                             LfmConversation* conversation);

/* ---- All handles ---- */

/* Closes any handle; LFM_OK for one that was closed already, and for 0. An answer that another
 * thread is computing ends at its next token. */
LFM_CORE_API LfmStatus lfm_close(LfmHandle handle);

#ifdef __cplusplus
}
#endif

#endif /* LFM_CORE_H_ */
