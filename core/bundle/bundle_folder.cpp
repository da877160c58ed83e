#include "bundle/bundle_folder.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/file.h"

namespace lfm::core {
namespace {

std::optional<std::string> resolved(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), free);
  if (real == nullptr) return std::nullopt;
  return std::string(real.get());
}

bool begins_with(const std::string& text, const std::string& begin) {
  return text.compare(0, begin.size(), begin) == 0;
}

bool lies_in(const std::string& path, const std::string& folder) {
  return path == folder || begins_with(path, folder == "/" ? folder : folder + "/");
}

// The names in a folder, sorted, without the hidden ones, which a file manager may leave anywhere.
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  if (open == nullptr) return names;
  while (const dirent* const entry = readdir(open.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// All files below a folder, by their paths within it; `within` ends in a slash or is empty.
void add_files(const std::string& folder, const std::string& within,
               std::vector<std::string>& files) {
  for (const std::string& name : names_in(folder + "/" + within)) {
    struct stat status;
    const std::string path = within + name;
    if (lstat((folder + "/" + path).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      add_files(folder, path + "/", files);
    } else {
      files.push_back(path);
    }
  }
}

// A length as protobuf writes it, seven bits a byte.
std::string varint(size_t length) {
  std::string bytes;
  for (; length > 127; length >>= 7) bytes += static_cast<char>((length & 127) | 128);
  return bytes + static_cast<char>(length);
}

// Whether an ONNX graph says of a tensor that its values lie in this file: a key and its value.
bool names_as_external(std::string_view graph, const std::string& name) {
  for (const std::string& place : {name, "./" + name}) {
    const std::string entry = "location\x12" + varint(place.size()) + place;
    if (graph.find(entry) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

bool is_folder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool stays_within(const std::string& folder, const std::string& path) {
  const auto home = resolved(folder), target = resolved(path);
  if (!home || !target) return true;  // what is not there leads nowhere
  if (lies_in(*target, *home)) return true;
  const std::string snapshots = "/snapshots/";
  for (size_t at = home->find(snapshots); at != std::string::npos;
       at = home->find(snapshots, at + 1)) {
    if (lies_in(*target, home->substr(0, at) + "/blobs")) return true;
  }
  return false;
}

std::optional<std::string> unlisted_of_graph(const std::string& folder, const Manifest& manifest) {
  const std::string graph = folder + "/" + manifest.graph.file;
  std::vector<std::string> files;
  add_files(folder, "", files);
  const bool many = is_folder(graph);
  const MappedFile mapped = many ? MappedFile() : MappedFile(graph);
  for (const std::string& name : files) {
    if (manifest.file(name) != nullptr) continue;
    if (many ? begins_with(name, manifest.graph.file + "/")
             : names_as_external(mapped.bytes(), name)) {
      return name;
    }
  }
  return std::nullopt;
}

}  // namespace lfm::core
