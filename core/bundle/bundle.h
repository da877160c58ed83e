// The bundle: a folder with one graph, its tokenizer files and `manifest.json`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "bundle/manifest.h"

namespace lfm::core {

// How far a piece of work is that is done by whoever pulls: "hash", "decode", "prefill", "rewind",
// "windows".
struct Progress {
  std::string what;
  int64_t done = 0, total = 0;
};

// An opened bundle: its folder and its checked manifest. Opening checks the manifest, the size of
// every file, and the hash of files up to 1 MB; HashCheck reads the large ones too.
class Bundle {
 public:
  // LFM_BUNDLE: the folder or a file is missing, or the manifest is malformed.
  // LFM_UNSUPPORTED_BUNDLE: another major version. LFM_INTEGRITY: a file's size or hash differs.
  explicit Bundle(const std::string& folder);

  const std::string& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  // The SHA-256 of the manifest, which stands for the whole bundle.
  const std::string& digest() const { return digest_; }
  // Of all files, the manifest included.
  int64_t size() const;

  bool has(std::string_view name) const { return manifest_.file(name) != nullptr; }
  std::string path(std::string_view name) const;
  std::string graph_path() const { return path(manifest_.graph.file); }
  // The text of one of the bundle's files, if it has it; LFM_BUNDLE where that is not UTF-8.
  std::optional<std::string> read_text(std::string_view name) const;

 private:
  std::string folder_;
  Manifest manifest_;
  std::string digest_;
  int64_t manifest_size_ = 0;
};

// Hashes every file, a few megabytes at each call of `next`; whoever is tired of it stops calling.
class HashCheck {
 public:
  // LFM_INTEGRITY: the graph has a file that is not listed.
  explicit HashCheck(std::shared_ptr<const Bundle> bundle);

  // How far it is, in bytes; none behind the last. LFM_INTEGRITY: a file differs.
  std::optional<Progress> next();

 private:
  std::shared_ptr<const Bundle> bundle_;
  size_t file_ = 0;  // index into the manifest's
  MappedFile mapped_;
  Sha256 hash_;
  size_t at_ = 0;  // in the file
  int64_t done_ = 0, total_ = 0;
};

}  // namespace lfm::core
