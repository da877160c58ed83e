// The attributes of a node, read and checked once, when its kernel is created.
#pragma once

#include <cstdint>
#include <string>

#include "failure.h"

namespace lfm {

class Attributes {
 public:
  Attributes(const OrtApi* api, const OrtKernelInfo* info) : api_(api), info_(info) {}

  int64_t integer(const char* name, int64_t least, int64_t most) const {
    int64_t value = 0;
    read(name, ort_KernelInfoGetAttribute_int64(api_)(info_, name, &value));
    if (value < least || value > most) {
      throw Failure(label(name) + "got " + std::to_string(value) + ", want " +
                    std::to_string(least) + " to " + std::to_string(most));
    }
    return value;
  }

  // A size: positive, and small enough that products of a few of them fit 64 bits.
  int64_t size(const char* name) const { return integer(name, 1, int64_t{1} << 24); }

  bool flag(const char* name) const { return integer(name, 0, 1) != 0; }

  float real(const char* name) const {
    float value = 0;
    read(name, ort_KernelInfoGetAttribute_float(api_)(info_, name, &value));
    if (!(value >= -1e30f && value <= 1e30f)) {
      throw Failure(label(name) + "got " + std::to_string(value) + ", want a finite number");
    }
    return value;
  }

  std::string text(const char* name) const {
    size_t size = 0;  // the null at the end included
    read(name, ort_KernelInfoGetAttribute_string(api_)(info_, name, nullptr, &size));
    std::string value(size, '\0');
    read(name, ort_KernelInfoGetAttribute_string(api_)(info_, name, value.data(), &size));
    return value.c_str();
  }

  static std::string label(const char* name) { return std::string("attribute ") + name + ": "; }

  std::string node() const {
    size_t size = 0;
    OrtStatus* status = ort_KernelInfo_GetNodeName(api_)(info_, nullptr, &size);
    std::string name(size, '\0');
    if (status == nullptr) status = ort_KernelInfo_GetNodeName(api_)(info_, name.data(), &size);
    if (status != nullptr) {
      ort_ReleaseStatus(api_)(status);
      return {};
    }
    return name.c_str();
  }

  const OrtApi* api() const { return api_; }

 private:
  void read(const char* name, OrtStatus* status) const {
    if (status == nullptr) return;
    ort_ReleaseStatus(api_)(status);
    throw Failure(label(name) + "missing or of the wrong type");
  }

  const OrtApi* api_;
  const OrtKernelInfo* info_;
};

}  // namespace lfm
