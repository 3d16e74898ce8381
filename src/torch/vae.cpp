#include "torch/vae.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace gf::torch {
namespace {

constexpr double norm_eps = 1e-6;  // diffusers sets it in code, not in the config.

}  // namespace

Vae::Vae(const VaeConfig& config, VaeParts parts) : config_(config), parts_(parts) {
  decoder_.levels.resize(config.channels.size());
  for (auto& level : decoder_.levels) level.resnets.resize(static_cast<std::size_t>(config.resnets + 1));
  encoder_.levels.resize(config.channels.size());
  for (auto& level : encoder_.levels) level.resnets.resize(static_cast<std::size_t>(config.resnets));
}

void Vae::Attention::declare(WeightList& list, const std::string& name, std::int64_t channels, std::int64_t groups) {
  norm.declare(list, name + ".group_norm", channels, groups, norm_eps);
  list.add_stacked(
      {{name + ".to_q.weight", channels}, {name + ".to_k.weight", channels}, {name + ".to_v.weight", channels}},
      {channels}, &qkv.weight);
  list.add_stacked({{name + ".to_q.bias", channels}, {name + ".to_k.bias", channels}, {name + ".to_v.bias", channels}},
                   {}, &qkv.bias);
  out.declare(list, name + ".to_out.0", channels, channels);
}

at::Tensor Vae::Attention::forward(const at::Tensor& x) const {
  const auto parts = qkv.forward(to_tokens(norm.forward(x))).chunk(3, -1);
  const auto mixed = out.forward(attend(parts[0], parts[1], parts[2], 1));
  return from_tokens(mixed, x.size(2), x.size(3)) + x;
}

void Vae::Middle::declare(WeightList& list, const std::string& name, std::int64_t channels, const VaeConfig& config) {
  attends = config.mid_attention;
  first.declare(list, name + ".resnets.0", channels, channels, config.groups, norm_eps);
  if (attends) attention.declare(list, name + ".attentions.0", channels, config.groups);
  second.declare(list, name + ".resnets.1", channels, channels, config.groups, norm_eps);
}

at::Tensor Vae::Middle::forward(const at::Tensor& x) const {
  auto y = first.forward(x, {});
  if (attends) y = attention.forward(y);
  return second.forward(y, {});
}

void Vae::declare_decoder(WeightList& list) {
  const auto levels = config_.channels.size();
  auto width = config_.channels.back();
  decoder_.in.declare(list, "decoder.conv_in", config_.latent_channels, width);
  decoder_.middle.declare(list, "decoder.mid_block", width, config_);
  for (std::size_t i = 0; i < levels; ++i) {
    auto& level = decoder_.levels[i];
    const auto out = config_.channels[levels - 1 - i];
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      level.resnets[j].declare(list, fmt::format("decoder.up_blocks.{}.resnets.{}", i, j), width, out, config_.groups,
                               norm_eps);
      width = out;
    }
    if (i + 1 < levels)
      level.resample.declare(list, fmt::format("decoder.up_blocks.{}.upsamplers.0.conv", i), width, width);
  }
  decoder_.norm_out.declare(list, "decoder.conv_norm_out", width, config_.groups, norm_eps);
  decoder_.out.declare(list, "decoder.conv_out", width, config_.out_channels);
  if (config_.post_quant_conv) {
    post_quant_.declare(list, "post_quant_conv", config_.latent_channels, config_.latent_channels, 1);
  }
}

void Vae::declare_encoder(WeightList& list) {
  const auto levels = config_.channels.size();
  auto width = config_.channels.front();
  encoder_.in.declare(list, "encoder.conv_in", config_.in_channels, width);
  for (std::size_t i = 0; i < levels; ++i) {
    auto& level = encoder_.levels[i];
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      level.resnets[j].declare(list, fmt::format("encoder.down_blocks.{}.resnets.{}", i, j), width, config_.channels[i],
                               config_.groups, norm_eps);
      width = config_.channels[i];
    }
    if (i + 1 < levels) {
      level.resample.declare(list, fmt::format("encoder.down_blocks.{}.downsamplers.0.conv", i), width, width, 3, 2);
      level.resample.padding = 0;  // The padding is uneven and done by hand.
    }
  }
  encoder_.middle.declare(list, "encoder.mid_block", width, config_);
  encoder_.norm_out.declare(list, "encoder.conv_norm_out", width, config_.groups, norm_eps);
  encoder_.out.declare(list, "encoder.conv_out", width, 2 * config_.latent_channels);
  if (config_.quant_conv) {
    quant_.declare(list, "quant_conv", 2 * config_.latent_channels, 2 * config_.latent_channels, 1);
  }
}

void Vae::declare(WeightList& list) {
  WeightList other;
  declare_decoder(parts_ == VaeParts::encoder ? other : list);
  declare_encoder(parts_ == VaeParts::decoder ? other : list);
  list.expect_all(other);
  // Names of the attention's layers before diffusers 0.18.
  for (const auto& [now, old] : {std::pair(".to_q.", ".query."), std::pair(".to_k.", ".key."),
                                 std::pair(".to_v.", ".value."), std::pair(".to_out.0.", ".proj_attn.")}) {
    list.allow_part(now, old);
  }
}

void Vae::pack(std::int64_t height, std::int64_t width) {
  post_quant_.pack(1, height, width);
  decoder_.in.pack(1, height, width);
  decoder_.middle.first.pack(1, height, width);
  decoder_.middle.second.pack(1, height, width);
  for (auto& level : decoder_.levels) {
    for (auto& resnet : level.resnets) resnet.pack(1, height, width);
    if (!level.resample.defined()) continue;
    height *= 2;
    width *= 2;
    level.resample.pack(1, height, width);
  }
  decoder_.out.pack(1, height, width);
}

at::Tensor Vae::decode(const at::Tensor& latents) const {
  auto x = latents / config_.scaling_factor;
  if (config_.shift_factor != 0) x = x + config_.shift_factor;
  x = x.contiguous(at::MemoryFormat::ChannelsLast);
  if (post_quant_.defined()) x = post_quant_.forward(x);
  x = decoder_.middle.forward(decoder_.in.forward(x));
  for (const auto& level : decoder_.levels) {
    for (const auto& resnet : level.resnets) x = resnet.forward(x, {});
    if (level.resample.defined()) {
      x = level.resample.forward(at::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2}));
    }
  }
  return decoder_.out.forward(decoder_.norm_out.forward_silu(x));
}

Result<at::Tensor> Vae::decode_in_tiles(const at::Tensor& latents, const Call& call) const {
  const auto height = latents.size(2);
  const auto width = latents.size(3);
  const auto factor = config_.factor();
  // Where tiles begin along a side: evenly spread, so that no tile is smaller than another.
  const auto starts = [](std::int64_t side) {
    std::vector<std::int64_t> out = {0};
    if (side <= tile_latents) return out;
    const auto count = (side - overlap_latents + tile_latents - overlap_latents - 1) / (tile_latents - overlap_latents);
    for (std::int64_t i = 1; i < count; ++i) out.push_back((side - tile_latents) * i / (count - 1));
    return out;
  };
  const auto rows = starts(height);
  const auto columns = starts(width);
  const auto total = static_cast<std::uint64_t>(rows.size() * columns.size());
  if (total == 1) {
    auto whole = decode(latents);
    call.progress(GF_BACKEND_STAGE_DECODING, 1, 1);
    return whole;
  }
  // How much each pixel of a tile counts: less towards an edge that lies inside the picture. Sums are divided out, so
  // that the ramps of two tiles need not add up to one.
  const auto ramp = [&](std::int64_t start, std::int64_t side) {
    const auto size = std::min(side, tile_latents);
    const auto span = overlap_latents * factor;
    auto weights = at::ones({size * factor});
    auto* const at = weights.data_ptr<float>();
    for (std::int64_t i = 0; i < span; ++i) {
      const auto share = (static_cast<float>(i) + 0.5F) / static_cast<float>(span);
      if (start > 0) at[i] = share;
      if (start + size < side) at[size * factor - 1 - i] = share;
    }
    return weights;
  };
  at::Tensor sums;
  auto weights = at::zeros({height * factor, width * factor});
  std::uint64_t done = 0;
  for (const auto row : rows) {
    for (const auto column : columns) {
      GF_TRYV(call.check());
      const auto tall = std::min(height, tile_latents);
      const auto wide = std::min(width, tile_latents);
      const auto tile = decode(latents.narrow(2, row, tall).narrow(3, column, wide));
      if (!sums.defined()) sums = at::zeros({1, tile.size(1), height * factor, width * factor});
      const auto counts = at::outer(ramp(row, height), ramp(column, width));
      const auto place = [&](const at::Tensor& all, std::int64_t first) {
        return all.narrow(first, row * factor, tall * factor).narrow(first + 1, column * factor, wide * factor);
      };
      place(sums, 2).addcmul_(tile, counts);
      place(weights, 0).add_(counts);
      call.progress(GF_BACKEND_STAGE_DECODING, ++done, total);
    }
  }
  return sums.div_(weights);
}

Vae::Distribution Vae::encode(const at::Tensor& image) const {
  auto x = encoder_.in.forward(image.contiguous(at::MemoryFormat::ChannelsLast));
  for (const auto& level : encoder_.levels) {
    for (const auto& resnet : level.resnets) x = resnet.forward(x, {});
    if (level.resample.defined()) x = level.resample.forward(at::constant_pad_nd(x, {0, 1, 0, 1}));
  }
  x = encoder_.out.forward(encoder_.norm_out.forward_silu(encoder_.middle.forward(x)));
  if (quant_.defined()) x = quant_.forward(x);
  const auto parts = x.chunk(2, 1);
  return {parts[0], parts[1].clamp(-30.0, 20.0)};
}

}  // namespace gf::torch
