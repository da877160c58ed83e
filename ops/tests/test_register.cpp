// Registration, and what becomes of it under an ONNX Runtime that is too old.
#include <set>
#include <string>

#include "check.h"
#include "fake_ort.h"
#include "lfm_ops/register.h"

namespace {

uint32_t newest = kOrtApiVersion;
std::multiset<std::string> ops;
int domains_made = 0, domains_added = 0;

OrtStatus* create_domain(const char* name, OrtCustomOpDomain** out) {
  CHECK(std::string(name) == "ai.lfm", "%s", name);
  static int domain;
  *out = reinterpret_cast<OrtCustomOpDomain*>(&domain);
  ++domains_made;
  return nullptr;
}
OrtStatus* add_op(OrtCustomOpDomain*, const OrtCustomOp* op) {
  CHECK(op->version == kOrtApiVersion, "%u", op->version);
  ops.insert(op->GetName(op));
  return nullptr;
}
OrtStatus* add_domain(OrtSessionOptions*, OrtCustomOpDomain*) {
  ++domains_added;
  return nullptr;
}

const OrtApi* get_api(uint32_t version) {
  static const OrtApi table = [] {
    OrtApi a = *fake::api();
    a.slot[26] = reinterpret_cast<void*>(create_domain);
    a.slot[27] = reinterpret_cast<void*>(add_op);
    a.slot[28] = reinterpret_cast<void*>(add_domain);
    return a;
  }();
  return version <= newest ? &table : nullptr;
}

std::string register_ops() {
  const OrtApiBase base{get_api, [] { return "1.0.0"; }};
  return fake::take(RegisterCustomOps(nullptr, &base));
}

}  // namespace

TEST(an_old_runtime_is_told_so) {
  newest = 7;
  const std::string message = register_ops();
  CHECK(message.find("1.0.0") != std::string::npos, "%s", message.c_str());
  CHECK(message.find("1.16") != std::string::npos, "%s", message.c_str());
  CHECK(domains_added == 0, "%d", domains_added);
}

TEST(one_domain_serves_all_sessions) {
  newest = kOrtApiVersion + 20;
  for (int i = 0; i < 3; ++i) CHECK(register_ops().empty(), "round %d", i);
  CHECK(domains_made == 1 && domains_added == 3, "%d, %d", domains_made, domains_added);
  const std::multiset<std::string> want = {
      "AddRmsNorm",     "CachedAttention",    "CachedAttention", "CachedAttention", "GatedMlp",
      "GatedShortConv", "QuantizedEmbedding", "QuantizedLinear", "SparseMoe"};
  CHECK(ops == want, "%zu ops", ops.size());
}
