#include "bundle/bundle.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "bundle/bundle_folder.h"

namespace lfm::core {
namespace {

constexpr int64_t kSmallFile = 1 << 20;
constexpr size_t kLargestManifest = 16 << 20;
constexpr size_t kLargestText = 256 << 20;
constexpr size_t kHashedAtOnce = 4 << 20;

int64_t size_of(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 ? static_cast<int64_t>(status.st_size) : -1;
}

std::string read_manifest(const std::string& folder) {
  const std::string path = folder + "/" + kManifest;
  if (!is_folder(folder)) {
    throw Error(LFM_BUNDLE,
                folder + ": no such folder; expected a bundle written by lfm-edge export");
  }
  if (!is_file(path)) {
    throw Error(LFM_BUNDLE, folder + ": no " + kManifest + ", so this is not a (complete) bundle");
  }
  if (size_of(path) > static_cast<int64_t>(kLargestManifest)) {
    throw Error(LFM_BUNDLE, path + ": larger than " + std::to_string(kLargestManifest >> 20) +
                                " MB, not a manifest");
  }
  return read_file(path, kLargestManifest);
}

void check_hash(const std::string& path, const std::string& found, const FileEntry& expected) {
  if (found == expected.sha256) return;
  throw Error(LFM_INTEGRITY, path + ": SHA-256 " + found.substr(0, 12) + "..., but " + kManifest +
                                 " says " + expected.sha256.substr(0, 12) +
                                 "...; the file was changed or damaged");
}

void check_file(const Bundle& bundle, const std::string& name, const FileEntry& expected) {
  const std::string path = bundle.path(name);
  if (!stays_within(bundle.folder(), path)) {
    throw Error(LFM_BUNDLE, path + ": links to a place outside the bundle");
  }
  if (!is_file(path)) {
    throw Error(LFM_BUNDLE,
                bundle.folder() + ": " + name + " is listed in " + kManifest + " but missing");
  }
  const int64_t size = size_of(path);
  if (size != expected.size) {
    throw Error(LFM_INTEGRITY, path + ": " + grouped(size) + " bytes, but " + kManifest + " says " +
                                   grouped(expected.size) + "; copy or export the bundle again");
  }
  if (size <= kSmallFile) check_hash(path, sha256_hex(MappedFile(path).bytes()), expected);
}

std::string without_slashes_at_end(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

Bundle::Bundle(const std::string& folder) : folder_(without_slashes_at_end(folder)) {
  const std::string text = read_manifest(folder_);
  manifest_ = parse_manifest(path(kManifest), text);
  manifest_size_ = static_cast<int64_t>(text.size());
  digest_ = sha256_hex(text);
  for (const auto& [name, expected] : manifest_.files) check_file(*this, name, expected);
}

int64_t Bundle::size() const {
  int64_t sum = manifest_size_;
  for (const auto& [name, entry] : manifest_.files) sum += entry.size;
  return sum;
}

std::string Bundle::path(std::string_view name) const {
  return (folder_ == "/" ? folder_ : folder_ + "/") + std::string(name);
}

std::optional<std::string> Bundle::read_text(std::string_view name) const {
  if (!has(name)) return std::nullopt;
  std::string text = read_file(path(name), kLargestText);
  if (!is_utf8(text)) throw Error(LFM_BUNDLE, path(name) + ": not UTF-8 text");
  return text;
}

HashCheck::HashCheck(std::shared_ptr<const Bundle> bundle) : bundle_(std::move(bundle)) {
  const Manifest& manifest = bundle_->manifest();
  if (const auto unlisted = unlisted_of_graph(bundle_->folder(), manifest)) {
    throw Error(LFM_INTEGRITY, bundle_->folder() + ": " + *unlisted +
                                   " belongs to the graph, but is not listed in " + kManifest +
                                   ", so nothing tells whether it is whole; export the bundle "
                                   "again");
  }
  for (const auto& [name, entry] : manifest.files) total_ += entry.size;
}

std::optional<Progress> HashCheck::next() {
  const auto& files = bundle_->manifest().files;
  if (file_ == files.size()) return std::nullopt;
  if (at_ == 0) {
    mapped_ = MappedFile(bundle_->path(files[file_].first));
    hash_ = Sha256();
  }
  const std::string_view part = mapped_.bytes().substr(at_, kHashedAtOnce);
  hash_.add(part.data(), part.size());
  at_ += part.size();
  done_ += static_cast<int64_t>(part.size());
  if (at_ == mapped_.bytes().size()) {
    check_hash(bundle_->path(files[file_].first), hash_.hex(), files[file_].second);
    ++file_;
    at_ = 0;
  }
  return Progress{"hash", done_, total_};
}

}  // namespace lfm::core
