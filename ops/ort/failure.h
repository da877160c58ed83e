// How an op says no. Checks throw a Failure; custom_op.h turns it into an OrtStatus, so that no
// exception crosses the ABI.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "ort_abi.h"

namespace lfm {

class Failure : public std::exception {
 public:
  explicit Failure(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Throws what ONNX Runtime itself reported.
inline void check(const OrtApi* api, OrtStatus* status) {
  if (status == nullptr) return;
  std::string message = ort_GetErrorMessage(api)(status);
  ort_ReleaseStatus(api)(status);
  throw Failure(std::move(message));
}

}  // namespace lfm
