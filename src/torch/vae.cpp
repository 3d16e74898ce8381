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

at::Tensor Vae::Middle::forward(const at::Tensor& x, Wrap wrap) const {
  auto y = first.forward(x, {}, wrap);
  if (attends) y = attention.forward(y);
  return second.forward(y, {}, wrap);
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

at::Tensor Vae::decode(const at::Tensor& latents, Wrap wrap) const {
  auto x = latents / config_.scaling_factor;
  if (config_.shift_factor != 0) x = x + config_.shift_factor;
  x = x.contiguous(at::MemoryFormat::ChannelsLast);
  if (post_quant_.defined()) x = post_quant_.forward(x);
  x = decoder_.middle.forward(decoder_.in.forward(x, wrap), wrap);
  for (const auto& level : decoder_.levels) {
    for (const auto& resnet : level.resnets) x = resnet.forward(x, {}, wrap);
    if (level.resample.defined()) {
      x = level.resample.forward(at::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2}), wrap);
    }
  }
  return decoder_.out.forward(decoder_.norm_out.forward_silu(x), wrap);
}

namespace {

/// How one side of a picture is cut into tiles, in latents.
struct Cut {
  std::vector<std::int64_t> starts = {0};
  std::int64_t size = 0;    // Of each tile.
  std::int64_t folded = 0;  // How far the tiles reach past the end, where they go on at the beginning.
};

Cut cut(std::int64_t side, bool wraps) {
  constexpr auto tile = Vae::tile_latents;
  constexpr auto step = Vae::tile_latents - Vae::overlap_latents;
  Cut out;
  out.size = std::min(side, tile);
  if (side <= tile) return out;
  // Evenly spread, so that no tile is smaller than another: from end to end, or around.
  const auto spread = wraps ? side : side - tile;
  const auto count = wraps ? (side + step - 1) / step : (side - tile + step - 1) / step + 1;
  for (std::int64_t i = 1; i < count; ++i) out.starts.push_back(spread * i / (wraps ? count : count - 1));
  if (wraps) out.folded = tile;
  return out;
}

/// How much each pixel of a tile counts: less towards an edge beyond which there is another tile. Sums are divided out,
/// so that the ramps of two tiles need not add up to one.
at::Tensor ramp(const Cut& cut, std::int64_t start, std::int64_t side, std::int64_t factor) {
  auto weights = at::ones({cut.size * factor});
  const auto span = std::min(Vae::overlap_latents, cut.size) * factor;
  auto* const at = weights.data_ptr<float>();
  for (std::int64_t i = 0; i < span; ++i) {
    const auto share = (static_cast<float>(i) + 0.5F) / static_cast<float>(span);
    if (cut.folded != 0 || start > 0) at[i] = share;
    if (cut.folded != 0 || start + cut.size < side) at[cut.size * factor - 1 - i] = share;
  }
  return weights;
}

/// What reaches past the end of a side is added where the side begins, and cut off.
at::Tensor fold(at::Tensor sums, std::int64_t axis, std::int64_t side, std::int64_t folded) {
  if (folded == 0) return sums;
  sums.narrow(axis, 0, folded).add_(sums.narrow(axis, side, folded));
  return sums.narrow(axis, 0, side);
}

}  // namespace

Result<at::Tensor> Vae::decode_in_tiles(const at::Tensor& latents, const Call& call, Wrap wrap) const {
  const auto height = latents.size(2);
  const auto width = latents.size(3);
  const auto factor = config_.factor();
  const auto rows = cut(height, wrap.y);
  const auto columns = cut(width, wrap.x);
  const auto total = static_cast<std::uint64_t>(rows.starts.size() * columns.starts.size());
  if (total == 1) {
    auto whole = decode(latents, wrap);
    call.progress(GF_BACKEND_STAGE_DECODING, 1, 1);
    return whole;
  }
  // A side of one tile wraps within it; one of several goes on from its last tile to its first.
  const Wrap within = {wrap.x && columns.folded == 0, wrap.y && rows.folded == 0};
  const auto around = pad_around(latents, 0, rows.folded, 0, columns.folded, {columns.folded != 0, rows.folded != 0});
  at::Tensor sums;
  auto weights = at::zeros({(height + rows.folded) * factor, (width + columns.folded) * factor});
  std::uint64_t done = 0;
  for (const auto row : rows.starts) {
    for (const auto column : columns.starts) {
      GF_TRYV(call.check());
      const auto tile = decode(around.narrow(2, row, rows.size).narrow(3, column, columns.size), within);
      if (!sums.defined()) sums = at::zeros({1, tile.size(1), weights.size(0), weights.size(1)});
      const auto counts = at::outer(ramp(rows, row, height, factor), ramp(columns, column, width, factor));
      const auto place = [&](const at::Tensor& all, std::int64_t first) {
        return all.narrow(first, row * factor, rows.size * factor)
            .narrow(first + 1, column * factor, columns.size * factor);
      };
      place(sums, 2).addcmul_(tile, counts);
      place(weights, 0).add_(counts);
      call.progress(GF_BACKEND_STAGE_DECODING, ++done, total);
    }
  }
  const auto folded = [&](const at::Tensor& all, std::int64_t first) {
    return fold(fold(all, first, height * factor, rows.folded * factor), first + 1, width * factor,
                columns.folded * factor);
  };
  return folded(sums, 2) / folded(weights, 0);
}

Vae::Distribution Vae::encode(const at::Tensor& image, Wrap wrap) const {
  auto x = encoder_.in.forward(image.contiguous(at::MemoryFormat::ChannelsLast), wrap);
  for (const auto& level : encoder_.levels) {
    for (const auto& resnet : level.resnets) x = resnet.forward(x, {}, wrap);
    if (level.resample.defined()) x = level.resample.forward(pad_around(x, 0, 1, 0, 1, wrap));
  }
  x = encoder_.out.forward(encoder_.norm_out.forward_silu(encoder_.middle.forward(x, wrap)), wrap);
  if (quant_.defined()) x = quant_.forward(x);
  const auto parts = x.chunk(2, 1);
  return {parts[0], parts[1].clamp(-30.0, 20.0)};
}

}  // namespace gf::torch
