#include "engine/session_file.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "bundle/bundle_folder.h"
#include "bundle/python_text.h"
#include "engine/saturated.h"
#include "engine/session_digest.h"

namespace lfm::core {
namespace {

constexpr const char* kVersion = "1";
constexpr const char* kFormat = "lfm-edge session";
constexpr const char* kDigest = "sha256";
constexpr const char* kIds = "ids";

const char* stored_type(ElementType type) {
  constexpr const char* names[] = {"F32", "F16", "I8", "I64"};
  return names[static_cast<size_t>(type)];
}

std::string stored_name(const StateTensor& tensor) { return "state." + tensor.name; }

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error(LFM_SESSION_FILE, path + ": " + reason);
}

std::string list(const std::vector<int64_t>& sizes) {
  std::string text;
  for (const int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

TensorToWrite ids_to_write(const std::vector<int32_t>& ids) {
  return {kIds, "I32", {static_cast<int64_t>(ids.size())}, [&ids](const auto& take) {
            take(ids.data(), ids.size() * sizeof(int32_t));
          }};
}

TensorToWrite cache_to_write(const Contents& contents, size_t index) {
  const State& state = contents.state();
  const StateTensor& tensor = state.runtime().state_tensors()[index];
  const auto held = static_cast<int64_t>(contents.ids().size());
  const HeldParts parts(tensor, state.capacity(), held);
  const char* const data = state.tensor(index);
  return {stored_name(tensor), stored_type(tensor.dtype), held_shape(tensor, held),
          [parts, data](const auto& take) {
            for (size_t part = 0; part < parts.count; ++part) {
              take(data + part * parts.stride, parts.size);
            }
          }};
}

TensorToWrite conv_to_write(const StateTensor& tensor, const Conv& conv, size_t at) {
  const auto size = static_cast<size_t>(state_bytes(tensor, 0));
  return {stored_name(tensor), stored_type(tensor.dtype), tensor.shape,
          [conv, at, size](const auto& take) { take(conv->data() + at, size); }};
}

std::vector<TensorToWrite> tensors_of(const Contents& contents, const KnownConv& known) {
  std::vector<TensorToWrite> tensors{ids_to_write(contents.ids())};
  const auto& state = contents.state().runtime().state_tensors();
  size_t at = 0;
  for (size_t i = 0; i < state.size(); ++i) {
    if (state[i].kind != StateKind::kConv) {
      tensors.push_back(cache_to_write(contents, i));
    } else if (known.position >= 0) {
      tensors.push_back(conv_to_write(state[i], known.conv, at));
      at += static_cast<size_t>(state_bytes(state[i], 0));
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorToWrite& a, const TensorToWrite& b) { return a.name < b.name; });
  return tensors;
}

SafetensorsFile opened(const std::string& path) {
  if (!is_file(path)) refuse(path, "no such file; expected one that Session.save wrote");
  try {
    return SafetensorsFile(path);
  } catch (const std::exception& error) {
    refuse(path, std::string("damaged, or no saved session: ") + error.what());
  }
}

}  // namespace

void write_session(const std::string& path, const Contents& contents, std::string_view attached) {
  if (is_folder(path)) refuse(path, "is a folder; expected the name of a file");
  const KnownConv known = contents.conv_to_save();
  const std::vector<TensorToWrite> tensors = tensors_of(contents, known);
  Metadata metadata{{"format", kFormat},
                    {"version", kVersion},
                    {"bundle", contents.state().runtime().bundle().digest()},
                    {"capacity", std::to_string(contents.state().capacity())},
                    {"attached", std::string(attached)},
                    {"conv_position", std::to_string(known.position)}};
  if (contents.state().runtime().windows()) {
    const auto held = static_cast<int64_t>(contents.ids().size());
    metadata["earliest"] = std::to_string(std::min(contents.earliest(), held + 1));
  }
  SessionDigest digest(metadata);
  for (const TensorToWrite& tensor : tensors) {
    digest.begin(tensor.name, tensor.dtype, tensor.shape);
    tensor.give([&](const void* data, size_t size) { digest.add(data, size); });
  }
  metadata[kDigest] = digest.hex();
  try {
    write_safetensors(path, tensors, metadata);
  } catch (const std::exception& error) {
    refuse(path, std::string("cannot be written: ") + error.what());
  }
}

SavedSession::SavedSession(const std::string& path, const Runtime& runtime)
    : path_(path), file_(opened(path)), vocab_size_(runtime.vocab_size()) {
  check_metadata(runtime.bundle());
  capacity_ = number("capacity", 1, kLargest);
  const std::vector<int64_t>& shape = tensor(kIds, "I32").shape;
  if (shape.size() != 1 || shape[0] > capacity_) damaged("ids of shape " + list(shape));
  position_ = shape[0];
  attached_ = text("attached");
  conv_position_ = number("conv_position", -1, position_);
}

void SavedSession::check_metadata(const Bundle& bundle) const {
  if (text("format") != kFormat) {
    refuse(path_, "no saved session; expected one by Session.save");
  }
  if (text("version") != kVersion) {
    const bool known = file_.metadata().count("version") > 0;
    refuse(path_, "saved in version " + (known ? python_ascii(text("version")) : "None") +
                      " of the format, but this version of lfm-edge reads " + kVersion +
                      "; read its text again");
  }
  if (text("bundle") != bundle.digest()) {
    refuse(path_,
           "was saved with another bundle than " + bundle.folder() + "; read its text again");
  }
}

void SavedSession::damaged(const std::string& what) const {
  refuse(path_, "damaged: " + what + "; read its text again");
}

std::string SavedSession::text(const char* name) const {
  const auto found = file_.metadata().find(name);
  return found == file_.metadata().end() ? "" : found->second;
}

int64_t SavedSession::number(const char* name, int64_t least, int64_t most) const {
  const std::string text = this->text(name);
  const std::string digits = text.substr(text.rfind('-', 0) == 0 ? 1 : 0);
  const bool whole =
      !digits.empty() && digits.size() <= 9 &&
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (whole) {
    const int64_t value = std::stoll(text);
    if (least <= value && value <= most) return value;
  }
  damaged(std::string(name) + " is " + python_ascii(text.substr(0, 40)));
}

const StoredTensor& SavedSession::tensor(const std::string& name, const char* dtype) const {
  const auto found = file_.tensors().find(name);
  if (found == file_.tensors().end()) damaged("tensor " + name + " is missing");
  if (found->second.dtype != dtype) {
    damaged("tensor " + name + " is " + found->second.dtype + ", expected " + dtype);
  }
  return found->second;
}

bool SavedSession::is_stored(const StateTensor& described) const {
  return described.kind != StateKind::kConv || conv_position_ >= 0;
}

// Holds names, types and shapes to the bundle's, before anything is read.
void SavedSession::check_tensors(const std::vector<StateTensor>& state) const {
  std::set<std::string> wanted{kIds}, odd;
  for (const StateTensor& described : state) {
    if (is_stored(described)) wanted.insert(stored_name(described));
  }
  for (const std::string& name : wanted) {
    if (file_.tensors().count(name) == 0) odd.insert(name);
  }
  for (const auto& [name, found] : file_.tensors()) {
    if (wanted.count(name) == 0) odd.insert(name);
  }
  if (!odd.empty()) {
    const std::string& first = *odd.begin();
    damaged("tensor " + first + " is " + (wanted.count(first) > 0 ? "missing" : "odd"));
  }
  for (const StateTensor& described : state) {
    if (!is_stored(described)) continue;
    const std::string name = stored_name(described);
    const auto& found = tensor(name, stored_type(described.dtype)).shape;
    const bool conv = described.kind == StateKind::kConv;
    const auto expected = conv ? described.shape : held_shape(described, position_);
    if (found != expected) {
      damaged("tensor " + name + " has shape " + list(found) + ", expected " + list(expected));
    }
  }
}

std::string SavedSession::digest() const {
  Metadata metadata = file_.metadata();
  metadata.erase(kDigest);
  SessionDigest digest(metadata);
  for (const auto& [name, stored] : file_.tensors()) {
    digest.begin(name, stored.dtype, stored.shape);
    digest.add(stored.bytes.data(), stored.bytes.size());
  }
  return digest.hex();
}

void SavedSession::read_into(Contents& contents) const {
  State& state = contents.state();
  const auto& described = state.runtime().state_tensors();
  check_tensors(described);
  if (digest() != text(kDigest)) damaged("its content is not what was written");
  auto conv = std::make_shared<std::vector<char>>();
  for (size_t i = 0; i < described.size(); ++i) {
    if (!is_stored(described[i])) continue;
    const std::string_view bytes = file_.tensors().at(stored_name(described[i])).bytes;
    if (described[i].kind == StateKind::kConv) {
      conv->insert(conv->end(), bytes.begin(), bytes.end());
      continue;
    }
    const HeldParts parts(described[i], state.capacity(), position_);
    for (size_t part = 0; part < parts.count && parts.size > 0; ++part) {
      std::memcpy(state.tensor(i) + part * parts.stride, bytes.data() + part * parts.size,
                  parts.size);
    }
  }
  std::vector<int32_t> ids(static_cast<size_t>(position_));
  const std::string_view bytes = file_.tensors().at(kIds).bytes;
  if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), bytes.size());
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size_) damaged("it holds tokens that the model does not have");
  }
  const bool windows = state.runtime().windows().has_value();
  contents.fill(ids, {conv_position_, conv}, windows ? number("earliest", 0, position_ + 1) : 0);
}

}  // namespace lfm::core
