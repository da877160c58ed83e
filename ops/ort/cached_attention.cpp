#include <algorithm>
#include <cstring>

#include "custom_op.h"
#include "ops.h"
#include "runner.h"

namespace lfm {
namespace {

constexpr int64_t kTileRows = 64;  // queries that share a block of keys, at least one token's

enum Input {
  kQkv,
  kQNorm,
  kKNorm,
  kCos,
  kSin,
  kMask,
  kPastKey,
  kPastValue,
  kKeyScale,
  kValueScale
};

// One call's tensors and sizes.
struct Call {
  int64_t tokens, past, capacity;
  const float* qkv;
  const float* q_norm;
  const float* k_norm;
  const float* cos;
  const float* sin;
  CacheType type;
  CacheHead key, value;  // of the first head
  float* query;          // [kv_heads][tokens][group][head_dim]
  float* out;
};

int64_t element_size(CacheType type) {
  return type == CacheType::kFloat ? 4 : type == CacheType::kFloat16 ? 2 : 1;
}

// QK-norm, RoPE, append to the cache, causal grouped-query attention. ONNX Runtime chooses among
// ops of one name by the types of their inputs: there is one for each type of cache.
template <CacheType kCache, OrtElementType kCacheElement>
class CachedAttention {
 public:
  static constexpr const char* kName = "CachedAttention";
  static constexpr Port kInputs[] = {{"qkv", kOrtFloat},
                                     {"q_norm", kOrtFloat},
                                     {"k_norm", kOrtFloat},
                                     {"cos", kOrtFloat},
                                     {"sin", kOrtFloat},
                                     {"attention_mask", kOrtInt64},
                                     {"past_key", kCacheElement},
                                     {"past_value", kCacheElement},
                                     {"past_key_scale", kOrtFloat, kOrtOptional},
                                     {"past_value_scale", kOrtFloat, kOrtOptional}};
  static constexpr Port kOutputs[] = {{"out", kOrtFloat},
                                      {"present_key", kCacheElement},
                                      {"present_value", kCacheElement},
                                      {"present_key_scale", kOrtFloat, kOrtOptional},
                                      {"present_value_scale", kOrtFloat, kOrtOptional}};

  explicit CachedAttention(const Attributes& attributes)
      : heads_(attributes.integer("num_heads", 1, 1 << 12)),
        kv_heads_(attributes.integer("num_kv_heads", 1, 1 << 12)),
        head_dim_(attributes.integer("head_dim", 1, 1 << 12)),
        rotary_dim_(attributes.integer("rotary_dim", 0, head_dim_)),
        window_(attributes.integer("window", 0, int64_t{1} << 40)),
        scale_(attributes.real("scale")),
        epsilon_(attributes.real("epsilon")) {
    want(heads_ % kv_heads_ == 0, "num_heads", heads_, "a multiple of num_kv_heads");
    want(head_dim_ % kHeadMultiple == 0, "head_dim", head_dim_, "a multiple of 16");
    want(rotary_dim_ % 2 == 0, "rotary_dim", rotary_dim_, "an even number");
    group_ = heads_ / kv_heads_;
    tile_tokens_ = std::max<int64_t>(1, kTileRows / group_);
  }

  void compute(const Context& context) {
    Call call{};
    read(context, &call);
    const Tensor out = context.output(0, {1, call.tokens, heads_ * head_dim_});
    call.out = out.as_mutable<float>();
    bind_cache(context, &call);
    if (call.tokens == 0) return;

    const size_t queries = call.tokens * heads_ * head_dim_;
    const size_t partials = one_tile(call) ? kv_heads_ * spans(call) * partial_floats(call) : 0;
    Scratch scratch(runner_.pool(), Scratch::aligned(queries * sizeof(float)) +
                                        Scratch::aligned(partials * sizeof(float)) +
                                        Team::workers() * worker_bytes(call));
    call.query = scratch.part<float>(queries);
    auto* sums = scratch.part<float>(partials);
    auto* own = scratch.part<std::byte>(Team::workers() * worker_bytes(call));

    prepare(context, call);
    if (one_tile(call)) {
      attend_by_span(context, call, sums, own);
    } else {
      attend_by_tile(context, call, own);
    }
  }

 private:
  static void want(bool good, const char* attribute, int64_t got, const char* wanted) {
    if (good) return;
    throw Failure(Attributes::label(attribute) + "got " + std::to_string(got) + ", want " + wanted);
  }

  void read(const Context& context, Call* call) const {
    const Tensor qkv = context.input(kQkv).require({1, kAny, (heads_ + 2 * kv_heads_) * head_dim_});
    call->qkv = qkv.as<float>();
    call->tokens = qkv.dims[1];
    call->q_norm = context.input(kQNorm).require({head_dim_}).as<float>();
    call->k_norm = context.input(kKNorm).require({head_dim_}).as<float>();
    const Tensor cos = context.input(kCos).require({kAny, rotary_dim_ / 2});
    const Tensor sin = context.input(kSin).require({cos.dims[0], rotary_dim_ / 2});
    call->cos = cos.as<float>();
    call->sin = sin.as<float>();
    const Tensor mask = context.input(kMask).require({1, kAny});
    const int64_t total = mask.dims[1];
    call->capacity = context.input(kPastKey).require({1, kv_heads_, kAny, head_dim_}).dims[2];
    const int64_t most = std::min(call->capacity, cos.dims[0]);
    if (total < call->tokens || total > most) {
      mask.refuse("[1, " + std::to_string(call->tokens) + " to " + std::to_string(most) +
                  "], from the tokens of qkv to the positions of past_key and of cos");
    }
    call->past = total - call->tokens;
  }

  // Where past and present are apart, what was remembered is copied.
  void bind_cache(const Context& context, Call* call) const {
    const Tensor key = context.input(kPastKey);
    const Tensor value =
        context.input(kPastValue).require({1, kv_heads_, call->capacity, head_dim_});
    call->type = kCache;
    call->key.data = present(context, 1, key, element_size(call->type));
    call->value.data = present(context, 2, value, element_size(call->type));
    call->key.scales = present_scale(context, 3, kKeyScale, *call);
    call->value.scales = present_scale(context, 4, kValueScale, *call);
  }

  float* present_scale(const Context& context, size_t output, Input input, const Call& call) const {
    const Tensor past = context.input(input);
    if (call.type != CacheType::kInt8) {
      if (past) throw Failure(std::string(past.name) + ": got a tensor, want none: not int8");
      return nullptr;
    }
    if (!past) throw Failure(std::string(past.name) + ": missing, want it with an int8 past_key");
    past.require({1, kv_heads_, call.capacity});
    return static_cast<float*>(present(context, output, past, sizeof(float)));
  }

  static void* present(const Context& context, size_t output, const Tensor& past, int64_t size) {
    const Tensor to = context.output_like(output, past);
    if (to.data != past.data) std::memcpy(to.data, past.data, past.rows() * past.last() * size);
    return to.data;
  }

  CacheHead head(const CacheHead& first, int64_t index, const Call& call) const {
    const int64_t bytes = call.capacity * head_dim_ * element_size(call.type);
    float* scales = first.scales == nullptr ? nullptr : first.scales + index * call.capacity;
    return {static_cast<std::byte*>(first.data) + index * bytes, scales};
  }

  // Queries into the scratch, keys and values into the cache.
  void prepare(const Context& context, const Call& call) {
    const auto some = [&](int64_t begin, int64_t end, int) {
      for (int64_t token = begin; token < end; ++token) prepare_token(call, token);
    };
    if (call.tokens < 4) return some(0, call.tokens, 0);
    runner_.team(context).run(call.tokens, some);
  }

  void prepare_token(const Call& call, int64_t token) const {
    const StatefulKernels& kernels = runner_.stateful();
    const int64_t position = call.past + token, half = rotary_dim_ / 2;
    const float* in = call.qkv + token * (heads_ + 2 * kv_heads_) * head_dim_;
    NormRope how{
        call.q_norm, epsilon_, call.cos + position * half, call.sin + position * half, half,
        head_dim_,   scale_};
    for (int64_t kv = 0; kv < kv_heads_; ++kv) {
      float* query = call.query + (kv * call.tokens + token) * group_ * head_dim_;
      for (int64_t i = 0; i < group_; ++i, in += head_dim_) {
        kernels.norm_rope(how, in, query + i * head_dim_);
      }
    }
    how.weight = call.k_norm;
    how.scale = 1.0f;
    for (int64_t kv = 0; kv < kv_heads_; ++kv, in += head_dim_) {
      float key[1 << 12];
      kernels.norm_rope(how, in, key);
      kernels.append(key, head_dim_, call.type, head(call.key, kv, call), position);
    }
    for (int64_t kv = 0; kv < kv_heads_; ++kv, in += head_dim_) {
      kernels.append(in, head_dim_, call.type, head(call.value, kv, call), position);
    }
  }

  AttentionTile tile(const Call& call, int64_t kv, int64_t first_token, int64_t tokens) const {
    AttentionTile t;
    t.query = call.query + (kv * call.tokens + first_token) * group_ * head_dim_;
    t.rows = tokens * group_;
    t.group = group_;
    t.position = call.past + first_token;
    t.window = window_;
    t.head_dim = head_dim_;
    t.type = call.type;
    t.key = head(call.key, kv, call);
    t.value = head(call.value, kv, call);
    return t;
  }

  int64_t tile_rows(const Call& call) const { return std::min(call.tokens, tile_tokens_) * group_; }
  bool one_tile(const Call& call) const { return call.tokens <= tile_tokens_; }
  int64_t spans(const Call& call) const {
    const AttentionTile t = tile(call, 0, 0, call.tokens);
    return t.end_span() - t.first_span();
  }
  int64_t partial_floats(const Call& call) const {
    return SoftmaxSum::floats(tile_rows(call), head_dim_);
  }
  // A worker's own memory: the kernel's, the sum of a span and the sum of all.
  int64_t worker_bytes(const Call& call) const {
    const int64_t floats = attend_scratch(tile_rows(call), head_dim_) + 2 * partial_floats(call);
    return static_cast<int64_t>(Scratch::aligned(floats * sizeof(float)));
  }

  // Few tokens: a task is a span of keys of one head, so that a long context is shared out.
  void attend_by_span(const Context& context, const Call& call, float* sums, std::byte* own) {
    const int64_t spans_each = spans(call), rows = tile_rows(call);
    const auto sum_of = [&](int64_t task) {
      return SoftmaxSum::at(sums + task * partial_floats(call), rows);
    };
    runner_.team(context).run(kv_heads_ * spans_each, [&](int64_t begin, int64_t end, int worker) {
      auto* scratch = reinterpret_cast<float*>(own + worker * worker_bytes(call));
      for (int64_t task = begin; task < end; ++task) {
        const AttentionTile t = tile(call, task / spans_each, 0, call.tokens);
        const int64_t span = t.first_span() + task % spans_each;
        runner_.stateful().attend(t, span, scratch, sum_of(task));
      }
    });
    for (int64_t kv = 0; kv < kv_heads_; ++kv) {
      const SoftmaxSum total = SoftmaxSum::at(reinterpret_cast<float*>(own), rows);
      runner_.stateful().clear(total, rows, head_dim_);
      for (int64_t span = 0; span < spans_each; ++span) {
        runner_.stateful().merge(sum_of(kv * spans_each + span), rows, head_dim_, total);
      }
      finish(call, total, kv, 0, call.tokens);
    }
  }

  // Many tokens: a task is a tile of queries of one head.
  void attend_by_tile(const Context& context, const Call& call, std::byte* own) {
    const int64_t tiles = (call.tokens + tile_tokens_ - 1) / tile_tokens_;
    runner_.team(context).run(kv_heads_ * tiles, [&](int64_t begin, int64_t end, int worker) {
      auto* memory = reinterpret_cast<float*>(own + worker * worker_bytes(call));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % tiles * tile_tokens_;
        const int64_t tokens = std::min(tile_tokens_, call.tokens - first);
        attend_tile(call, task / tiles, first, tokens, memory);
      }
    });
  }

  void attend_tile(const Call& call, int64_t kv, int64_t first, int64_t tokens,
                   float* memory) const {
    const StatefulKernels& kernels = runner_.stateful();
    const AttentionTile t = tile(call, kv, first, tokens);
    float* scratch = memory + 2 * partial_floats(call);
    const SoftmaxSum total = SoftmaxSum::at(memory, t.rows);
    const SoftmaxSum part = SoftmaxSum::at(memory + partial_floats(call), t.rows);
    kernels.clear(total, t.rows, head_dim_);
    for (int64_t span = t.first_span(); span < t.end_span(); ++span) {
      kernels.attend(t, span, scratch, part);
      kernels.merge(part, t.rows, head_dim_, total);
    }
    finish(call, total, kv, first, tokens);
  }

  void finish(const Call& call, const SoftmaxSum& sum, int64_t kv, int64_t first,
              int64_t tokens) const {
    for (int64_t token = 0; token < tokens; ++token) {
      float* out = call.out + ((first + token) * heads_ + kv * group_) * head_dim_;
      runner_.stateful().finish(sum, token * group_, group_, head_dim_, out);
    }
  }

  int64_t heads_, kv_heads_, head_dim_, rotary_dim_, window_;
  float scale_, epsilon_;
  int64_t group_ = 1, tile_tokens_ = 1;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* cached_attention_float_op() {
  return CustomOp<CachedAttention<CacheType::kFloat, kOrtFloat>>::get();
}
const OrtCustomOp* cached_attention_float16_op() {
  return CustomOp<CachedAttention<CacheType::kFloat16, kOrtFloat16>>::get();
}
const OrtCustomOp* cached_attention_int8_op() {
  return CustomOp<CachedAttention<CacheType::kInt8, kOrtInt8>>::get();
}

}  // namespace lfm
