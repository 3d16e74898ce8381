#include "torch/layers.hpp"

#include <ATen/core/dispatch/Dispatcher.h>

#include <cmath>
#include <optional>

namespace gf::torch {
namespace {

/// oneDNN's operators on packed weights. libtorch registers them for its own compiler's use, without a C++ name, so
/// they are looked up once; a libtorch without them leaves every weight plain.
struct PackedOps {
  using Scalars = c10::List<std::optional<at::Scalar>>;
  using ReorderLinear = at::Tensor(const at::Tensor&, std::optional<std::int64_t>);
  using RunLinear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                               Scalars, std::optional<std::string_view>);
  using RunConv = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, at::IntArrayRef,
                             at::IntArrayRef, at::IntArrayRef, std::int64_t, std::string_view, Scalars,
                             std::optional<std::string_view>);

  std::optional<c10::TypedOperatorHandle<ReorderLinear>> reorder_linear;
  std::optional<c10::TypedOperatorHandle<RunLinear>> run_linear;
  std::optional<c10::TypedOperatorHandle<RunConv>> run_conv;

  static const PackedOps& get() {
    static const PackedOps ops;
    return ops;
  }

 private:
  PackedOps() {
    if (!at::globalContext().userEnabledMkldnn()) return;
    reorder_linear = find<ReorderLinear>("mkldnn::_reorder_linear_weight");
    run_linear = find<RunLinear>("mkldnn::_linear_pointwise");
    run_conv = find<RunConv>("mkldnn::_convolution_pointwise");
  }

  template <class Signature>
  static std::optional<c10::TypedOperatorHandle<Signature>> find(const char* name) {
    const auto schema = c10::Dispatcher::singleton().findSchema({name, ""});
    if (!schema) return std::nullopt;
    return schema->typed<Signature>();
  }
};

at::Tensor run_packed(const Linear& layer, const at::Tensor& x, std::string_view after, std::string_view algorithm) {
  const auto bias = layer.bias.defined() ? std::optional(layer.bias) : std::nullopt;
  return PackedOps::get().run_linear->call(x, layer.packed, bias, after, PackedOps::Scalars(), algorithm);
}

/// Multiplications below which a plain linear layer is faster. From 20 shapes at one and two threads: at 1.2 million
/// the packed form takes between 0.8 and 1.1 of the plain one's time, above 3 million at most 0.65.
constexpr std::int64_t packed_linear_from = 1'200'000;

/// Weights up to this size are packed. Larger ones belong to layers that compute for so long that reordering them at
/// each call does not show, and whose unpacking would when a picture of another size is asked for.
constexpr std::int64_t packed_conv_up_to_bytes = 4 << 20;

}  // namespace

void Linear::declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, bool with_bias) {
  list.add(name + ".weight", {out, in}, static_cast<Packable*>(this));
  if (with_bias) list.add(name + ".bias", {out}, &bias);
}

void Linear::pack(std::int64_t rows) {
  const auto& ops = PackedOps::get();
  if (!weight.defined() || !ops.run_linear || !ops.reorder_linear || rows * weight.numel() < packed_linear_from) return;
  packed = ops.reorder_linear->call(weight, std::nullopt);
  weight.reset();
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  return packed.defined() ? run_packed(*this, x, "none", "") : at::linear(x, weight, bias);
}

at::Tensor Linear::forward_gelu(const at::Tensor& x) const {
  return packed.defined() ? run_packed(*this, x, "gelu", "none") : at::gelu(at::linear(x, weight, bias));
}

void Conv::declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size,
                   std::int64_t with_stride) {
  stride = with_stride;
  padding = size / 2;
  list.add(name + ".weight", {out, in, size, size}, static_cast<Packable*>(this), Layout::channels_last);
  list.add(name + ".bias", {out}, &bias);
}

void Conv::pack(std::int64_t batch, std::int64_t height, std::int64_t width) {
  if (!weight.defined() || !PackedOps::get().run_conv) return;
  if (weight.numel() * static_cast<std::int64_t>(sizeof(float)) > packed_conv_up_to_bytes) return;
  const std::vector<std::int64_t> input = {batch, weight.size(1), height, width};
  packed = at::mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), {padding, padding}, {stride, stride}, {1, 1}, 1, input);
  packed_for_ = {batch, height, width};
  weight.reset();
}

at::Tensor pad_around(const at::Tensor& x, std::int64_t top, std::int64_t bottom, std::int64_t left, std::int64_t right,
                      Wrap wrap) {
  const auto height = x.size(2);
  const auto width = x.size(3);
  auto out = at::empty({x.size(0), x.size(1), top + height + bottom, left + width + right},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  out.narrow(2, top, height).narrow(3, left, width).copy_(x);
  // Columns beside the picture first, then whole rows of what is there by then: so corners come from the opposite one.
  const auto fill = [](const at::Tensor& into, bool wraps, const at::Tensor& from) {
    if (into.numel() == 0) return;
    if (wraps) {
      into.copy_(from);
    } else {
      into.zero_();
    }
  };
  const auto rows = out.narrow(2, top, height);
  fill(rows.narrow(3, 0, left), wrap.x, rows.narrow(3, width, left));
  fill(rows.narrow(3, left + width, right), wrap.x, rows.narrow(3, left, right));
  fill(out.narrow(2, 0, top), wrap.y, out.narrow(2, height, top));
  fill(out.narrow(2, top + height, bottom), wrap.y, out.narrow(2, top, bottom));
  return out;
}

at::Tensor Conv::forward(const at::Tensor& x, Wrap wrap) const {
  const bool wraps = wrap.any() && padding != 0;
  const at::Tensor input = wraps ? pad_around(x, padding, padding, padding, padding, wrap) : x;
  const auto around = wraps ? 0 : padding;
  const std::vector<std::int64_t> pads = {around, around};
  const std::vector<std::int64_t> strides = {stride, stride};
  if (!packed.defined()) return at::conv2d(input, weight, bias, strides, pads);
  // What wraps comes with its padding. oneDNN computes it from the same blocked form, or reorders that where it picks
  // another one for a convolution without padding.
  if (x.size(0) == packed_for_[0] && x.size(2) == packed_for_[1] && x.size(3) == packed_for_[2]) {
    const std::vector<std::int64_t> ones = {1, 1};
    return PackedOps::get().run_conv->call(input, packed, bias, pads, strides, ones, 1, "none", PackedOps::Scalars(),
                                           std::nullopt);
  }
  return at::conv2d(input, packed.to_dense().contiguous(at::MemoryFormat::ChannelsLast), bias, strides, pads);
}

void GroupNorm::declare(WeightList& list, const std::string& name, std::int64_t channels, std::int64_t group_count,
                        double with_eps) {
  groups = group_count;
  eps = with_eps;
  list.add(name + ".weight", {channels}, &weight);
  list.add(name + ".bias", {channels}, &bias);
}

at::Tensor GroupNorm::forward(const at::Tensor& x) const { return at::group_norm(x, groups, weight, bias, eps); }

at::Tensor GroupNorm::forward_silu(const at::Tensor& x) const {
  auto y = at::group_norm(x, groups, weight, bias, eps);
  return at::silu_(y);
}

void LayerNorm::declare(WeightList& list, const std::string& name, std::int64_t width, double with_eps) {
  eps = with_eps;
  list.add(name + ".weight", {width}, &weight);
  list.add(name + ".bias", {width}, &bias);
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, eps);
}

void ResnetBlock::declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out,
                          std::int64_t groups, double eps) {
  norm1.declare(list, name + ".norm1", in, groups, eps);
  conv1.declare(list, name + ".conv1", in, out);
  norm2.declare(list, name + ".norm2", out, groups, eps);
  conv2.declare(list, name + ".conv2", out, out);
  if (in != out) shortcut.declare(list, name + ".conv_shortcut", in, out, 1);
}

void ResnetBlock::pack(std::int64_t batch, std::int64_t height, std::int64_t width) {
  conv1.pack(batch, height, width);
  conv2.pack(batch, height, width);
  shortcut.pack(batch, height, width);
}

at::Tensor ResnetBlock::forward(const at::Tensor& x, const at::Tensor& offset, Wrap wrap) const {
  auto hidden = conv1.forward(norm1.forward_silu(x), wrap);
  if (offset.defined()) hidden.add_(offset.unsqueeze(-1).unsqueeze(-1));
  hidden = conv2.forward(norm2.forward_silu(hidden), wrap);
  return hidden.add_(shortcut.defined() ? shortcut.forward(x) : x);
}

at::Tensor to_tokens(const at::Tensor& x) {
  return x.permute({0, 2, 3, 1}).reshape({x.size(0), x.size(2) * x.size(3), x.size(1)});
}

at::Tensor from_tokens(const at::Tensor& tokens, std::int64_t height, std::int64_t width) {
  return tokens.reshape({tokens.size(0), height, width, tokens.size(2)}).permute({0, 3, 1, 2});
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads, bool causal) {
  const auto split = [heads](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
  };
  const auto mixed = at::scaled_dot_product_attention(split(q), split(k), split(v), {}, 0.0, causal);
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(1), q.size(2)});
}

at::Tensor sinusoidal(const at::Tensor& t, std::int64_t width, bool flip_sin_to_cos, double freq_shift) {
  const auto half = width / 2;
  auto exponent = at::arange(0, half, at::TensorOptions().dtype(at::kFloat)) * -std::log(10000.0);
  exponent = exponent / (static_cast<double>(half) - freq_shift);
  const auto angles = t.to(at::kFloat).unsqueeze(-1) * exponent.exp().unsqueeze(0);
  auto embedding =
      flip_sin_to_cos ? at::cat({angles.cos(), angles.sin()}, -1) : at::cat({angles.sin(), angles.cos()}, -1);
  if (width % 2 == 1) embedding = at::constant_pad_nd(embedding, {0, 1});
  return embedding;
}

}  // namespace gf::torch
