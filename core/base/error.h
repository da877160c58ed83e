// The one kind of exception within the core; the C ABI turns it into a status and a message.
#pragma once

#include <stdexcept>
#include <string>

#include "lfm_core.h"

namespace lfm::core {

class Error : public std::runtime_error {
 public:
  Error(LfmStatus status, const std::string& message)
      : std::runtime_error(message), status_(status), message_(message) {}

  LfmStatus status() const { return status_; }
  // All of it: what() ends at a zero, which a bundle's text may hold.
  const std::string& message() const { return message_; }

 private:
  LfmStatus status_;
  std::string message_;
};

// The same message as Python's `shortened`: its beginning and end where it is very long.
std::string shortened(const std::string& text);

// Digits in groups of three, as Python's f"{n:,}" writes them.
std::string grouped(long long number);

}  // namespace lfm::core
