#include "engine/safetensors.h"

#include <algorithm>
#include <stdexcept>

#include "base/json.h"
#include "engine/saturated.h"

namespace lfm::core {
namespace {

constexpr const char* kMetadata = "__metadata__";
constexpr size_t kLengthBytes = 8;
constexpr size_t kLargestHeader = 100'000'000;

struct StoredType {
  const char* name;
  int64_t bytes;
};

// In the order in which tensors of several types lie in a file.
constexpr StoredType kTypes[] = {{"F32", 4}, {"I32", 4}, {"F16", 2}, {"I8", 1}};

// The place of a type in that order; other types are of no file of ours.
size_t rank_of(const std::string& dtype) {
  const auto found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const StoredType& type) { return dtype == type.name; });
  return static_cast<size_t>(found - std::begin(kTypes));
}

[[noreturn]] void refuse(const std::string& reason) {
  throw std::runtime_error("Error while deserializing header: " + reason);
}

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// Numbers from 0 on.
std::vector<int64_t> numbers(const Json& list) {
  std::vector<int64_t> found;
  if (!list.is_array()) refuse("invalid JSON in header: expected an array");
  for (const Json& item : list.array()) {
    if (!item.is_integer() || item.integer() < 0) refuse("invalid JSON in header: expected a size");
    found.push_back(item.integer());
  }
  return found;
}

const std::string& text_of(const Json& value) {
  if (!value.is_string()) refuse("invalid JSON in header: expected a string");
  return value.string();
}

int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count = saturated_product(count, size);
  return count;
}

struct Place {
  int64_t begin, end;
  std::string name;
};

// Holds the tensors to lying one behind the other, with nothing between and behind them.
void require_cover(std::vector<Place> places, size_t size) {
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t end = 0;
  for (const Place& place : places) {
    if (place.begin != end) refuse("invalid offset for tensor `" + place.name + "`");
    end = place.end;
  }
  if (end != static_cast<int64_t>(size)) refuse("incomplete metadata, file not fully covered");
}

Json header_of(const std::vector<TensorToWrite>& tensors, const Metadata& metadata) {
  Json::Object texts, header;
  for (const auto& [name, text] : metadata) texts.emplace_back(name, text);
  header.emplace_back(kMetadata, std::move(texts));
  int64_t begin = 0;
  for (const TensorToWrite& tensor : tensors) {
    const int64_t end = begin + elements_of(tensor.shape) * kTypes[rank_of(tensor.dtype)].bytes;
    const Json::Array shape(tensor.shape.begin(), tensor.shape.end());
    header.emplace_back(tensor.name, Json::Object{{"dtype", tensor.dtype},
                                                  {"shape", shape},
                                                  {"data_offsets", Json::Array{begin, end}}});
    begin = end;
  }
  return header;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const std::string_view bytes = file_.bytes();
  if (bytes.size() < kLengthBytes) refuse("header too small");
  const uint64_t length = little_endian(bytes.substr(0, kLengthBytes));
  if (length > kLargestHeader) refuse("header too large");
  if (length > bytes.size() - kLengthBytes) refuse("invalid header length");
  read(bytes.substr(kLengthBytes, length), bytes.substr(kLengthBytes + length));
}

void SafetensorsFile::read(std::string_view header, std::string_view data) {
  const Json json = Json::parse(header, "Error while deserializing header: invalid JSON in header");
  if (!json.is_object()) refuse("invalid header start");
  std::vector<Place> places;
  for (const auto& [name, described] : json.object()) {
    if (name == kMetadata) {
      if (!described.is_object()) refuse("invalid JSON in header: expected an object");
      for (const auto& [key, text] : described.object()) metadata_[key] = text_of(text);
      continue;
    }
    const std::string& dtype = text_of(described["dtype"]);
    const std::vector<int64_t> shape = numbers(described["shape"]);
    const std::vector<int64_t> offsets = numbers(described["data_offsets"]);
    const size_t rank = rank_of(dtype);
    if (offsets.size() != 2 || offsets[0] > offsets[1] ||
        offsets[1] > static_cast<int64_t>(data.size())) {
      refuse("invalid offset for tensor `" + name + "`");
    }
    const int64_t size = offsets[1] - offsets[0];
    if (rank < std::size(kTypes) &&
        saturated_product(elements_of(shape), kTypes[rank].bytes) != size) {
      refuse("info for tensor `" + name + "` is not valid");
    }
    places.push_back({offsets[0], offsets[1], name});
    tensors_[name] = {dtype, shape,
                      data.substr(static_cast<size_t>(offsets[0]), static_cast<size_t>(size))};
  }
  require_cover(std::move(places), data.size());
}

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const Metadata& metadata) {
  std::vector<TensorToWrite> ordered = tensors;
  std::sort(ordered.begin(), ordered.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const size_t first = rank_of(a.dtype), second = rank_of(b.dtype);
    return first != second ? first < second : a.name < b.name;
  });
  std::string header = header_of(ordered, metadata).dump();
  header.resize((header.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  std::string length;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length += static_cast<char>(static_cast<uint64_t>(header.size()) >> 8 * i & 0xFF);
  }
  NewFile file(path, NewFile::For::kItsOwner);
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const TensorToWrite& tensor : ordered) {
    tensor.give([&](const void* data, size_t size) { file.write(data, size); });
  }
  file.finish();
}

}  // namespace lfm::core
