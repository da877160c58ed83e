#include <algorithm>
#include <cstring>

#include "attention.h"
#include "custom_op.h"
#include "ops.h"
#include "runner.h"

namespace lfm {
namespace {

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
  kValueScale,
  kReplayed
};

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
                                     {"past_value_scale", kOrtFloat, kOrtOptional},
                                     {"replayed", kOrtInt64, kOrtOptional}};
  static constexpr Port kOutputs[] = {{"out", kOrtFloat},
                                      {"present_key", kCacheElement},
                                      {"present_value", kCacheElement},
                                      {"present_key_scale", kOrtFloat, kOrtOptional},
                                      {"present_value_scale", kOrtFloat, kOrtOptional}};

  explicit CachedAttention(const Attributes& attributes) {
    shape_.heads = attributes.integer("num_heads", 1, 1 << 12);
    shape_.kv_heads = attributes.integer("num_kv_heads", 1, 1 << 12);
    shape_.head_dim = attributes.integer("head_dim", 1, 1 << 12);
    shape_.rotary_dim = attributes.integer("rotary_dim", 0, shape_.head_dim);
    shape_.window = attributes.integer("window", 0, int64_t{1} << 40);
    shape_.scale = attributes.real("scale");
    shape_.epsilon = attributes.real("epsilon");
    want(shape_.heads % shape_.kv_heads == 0, "num_heads", shape_.heads,
         "a multiple of num_kv_heads");
    want(shape_.head_dim % kHeadMultiple == 0, "head_dim", shape_.head_dim, "a multiple of 16");
    want(shape_.rotary_dim % 2 == 0, "rotary_dim", shape_.rotary_dim, "an even number");
  }

  void compute(const Context& context) {
    const Tensor past_key =
        context.input(kPastKey).require({1, shape_.kv_heads, kAny, shape_.head_dim});
    const AttentionInputs inputs = read(context, past_key);
    const Tensor out = context.output(0, {1, inputs.tokens, shape_.heads * shape_.head_dim});
    const Cache cache = bind_cache(context, past_key);
    if (inputs.tokens == 0) return;
    runner_.run(context,
                AttentionWork(runner_.stateful(), shape_, inputs, cache, out.as_mutable<float>()));
  }

 private:
  static void want(bool good, const char* attribute, int64_t got, const char* wanted) {
    if (good) return;
    throw Failure(Attributes::label(attribute) + "got " + std::to_string(got) + ", want " + wanted);
  }

  AttentionInputs read(const Context& context, const Tensor& past_key) const {
    const int64_t columns = (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim;
    AttentionInputs inputs{};
    const Tensor qkv = context.input(kQkv).require({1, kAny, columns});
    inputs.qkv = qkv.as<float>();
    inputs.tokens = qkv.dims[1];
    inputs.q_norm = context.input(kQNorm).require({shape_.head_dim}).as<float>();
    inputs.k_norm = context.input(kKNorm).require({shape_.head_dim}).as<float>();
    const Tensor cos = context.input(kCos).require({kAny, shape_.rotary_dim / 2});
    const Tensor sin = context.input(kSin).require({cos.dims[0], shape_.rotary_dim / 2});
    inputs.cos = cos.as<float>();
    inputs.sin = sin.as<float>();
    const Tensor mask = context.input(kMask).require({1, kAny});
    const int64_t total = mask.dims[1], slots = past_key.dims[2];
    const int64_t most = shape_.window > 0 ? cos.dims[0] : std::min(slots, cos.dims[0]);
    if (total < inputs.tokens || total > most) {
      mask.refuse("[1, " + std::to_string(inputs.tokens) + " to " + std::to_string(most) +
                  "], from the tokens of qkv to the positions of past_key and of cos");
    }
    inputs.past = total - inputs.tokens;
    inputs.replayed = context.count(kReplayed, inputs.tokens, "the tokens of qkv");
    if (!fits(shape_, inputs, slots)) {
      past_key.refuse(
          "[1, " + std::to_string(shape_.kv_heads) + ", C, " + std::to_string(shape_.head_dim) +
          "] with C at least " + std::to_string(total) + ", the positions, or a multiple of " +
          std::to_string(kKeyBlock) + " that is at least " +
          std::to_string(shape_.window + inputs.tokens - 1) + ", those that the run sees");
    }
    return inputs;
  }

  // Where past and present are apart, what was remembered is copied.
  Cache bind_cache(const Context& context, const Tensor& past_key) const {
    constexpr int64_t kSize = kCache == CacheType::kFloat     ? 4
                              : kCache == CacheType::kFloat16 ? 2
                                                              : 1;
    Cache cache{};
    cache.type = kCache;
    cache.slots = past_key.dims[2];
    const Tensor past_value =
        context.input(kPastValue).require({1, shape_.kv_heads, cache.slots, shape_.head_dim});
    cache.key.data = present(context, 1, past_key, kSize);
    cache.value.data = present(context, 2, past_value, kSize);
    cache.key.scales = present_scale(context, 3, kKeyScale, cache.slots);
    cache.value.scales = present_scale(context, 4, kValueScale, cache.slots);
    return cache;
  }

  float* present_scale(const Context& context, size_t output, Input input, int64_t slots) const {
    const Tensor past = context.input(input);
    if (kCache != CacheType::kInt8) {
      if (past) throw Failure(std::string(past.name) + ": got a tensor, want none: not int8");
      return nullptr;
    }
    if (!past) throw Failure(std::string(past.name) + ": missing, want it with an int8 past_key");
    past.require({1, shape_.kv_heads, slots});
    return static_cast<float*>(present(context, output, past, sizeof(float)));
  }

  static void* present(const Context& context, size_t output, const Tensor& past, int64_t size) {
    const Tensor to = context.output_like(output, past);
    if (to.data != past.data) std::memcpy(to.data, past.data, past.rows() * past.last() * size);
    return to.data;
  }

  AttentionShape shape_{};
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
