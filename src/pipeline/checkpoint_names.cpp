#include "pipeline/checkpoint_names.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <span>
#include <utility>

namespace gf::pipeline {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;  // Original, and as diffusers has it.

constexpr std::array<Pair, 7> unet_outside = {{{"input_blocks.0.0.", "conv_in."},
                                               {"time_embed.0.", "time_embedding.linear_1."},
                                               {"time_embed.2.", "time_embedding.linear_2."},
                                               {"label_emb.0.0.", "add_embedding.linear_1."},
                                               {"label_emb.0.2.", "add_embedding.linear_2."},
                                               {"out.0.", "conv_norm_out."},
                                               {"out.2.", "conv_out."}}};
constexpr std::array<Pair, 6> unet_resnet = {{{"in_layers.0.", "norm1."},
                                              {"in_layers.2.", "conv1."},
                                              {"emb_layers.1.", "time_emb_proj."},
                                              {"out_layers.0.", "norm2."},
                                              {"out_layers.3.", "conv2."},
                                              {"skip_connection.", "conv_shortcut."}}};
constexpr std::array<Pair, 5> vae_resnet = {{{"norm1.", "norm1."},
                                             {"conv1.", "conv1."},
                                             {"norm2.", "norm2."},
                                             {"conv2.", "conv2."},
                                             {"nin_shortcut.", "conv_shortcut."}}};
constexpr std::array<Pair, 5> vae_attention = {
    {{"norm.", "group_norm."}, {"q.", "to_q."}, {"k.", "to_k."}, {"v.", "to_v."}, {"proj_out.", "to_out.0."}}};
constexpr std::array<Pair, 3> vae_outside = {
    {{"conv_in.", "conv_in."}, {"norm_out.", "conv_norm_out."}, {"conv_out.", "conv_out."}}};
constexpr std::array<Pair, 5> clip_block = {{{"ln_1.", "layer_norm1."},
                                             {"ln_2.", "layer_norm2."},
                                             {"mlp.c_fc.", "mlp.fc1."},
                                             {"mlp.c_proj.", "mlp.fc2."},
                                             {"attn.out_proj.", "self_attn.out_proj."}}};

/// The name behind the row that `rest` begins with, after `before`.
std::optional<PartName> by(std::span<const Pair> rows, std::string_view rest, std::string_view before) {
  for (const auto& [original, now] : rows) {
    if (rest.starts_with(original))
      return PartName{fmt::format("{}{}{}", before, now, rest.substr(original.size())), {}};
  }
  return std::nullopt;
}

bool is_transformer(std::string_view rest) {
  for (const auto* start : {"norm.", "proj_in.", "proj_out.", "transformer_blocks."}) {
    if (rest.starts_with(start)) return true;
  }
  return false;
}

}  // namespace

bool take_start(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

std::optional<std::size_t> take_number(std::string_view& text) {
  const auto end = text.find('.');
  if (end == std::string_view::npos || end > 4) return std::nullopt;
  std::size_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, value);
  if (error != std::errc() || stop != text.data() + end) return std::nullopt;
  text.remove_prefix(end + 1);
  return value;
}

std::optional<PartName> unet_name(std::string_view original, std::size_t resnets) {
  if (const auto found = by(unet_outside, original, "")) return found;
  auto rest = original;
  if (take_start(rest, "middle_block.")) {
    const auto which = take_number(rest);
    if (which == 1 && is_transformer(rest)) return PartName{fmt::format("mid_block.attentions.0.{}", rest), {}};
    if (which == 0 || which == 2) return by(unet_resnet, rest, fmt::format("mid_block.resnets.{}.", *which / 2));
    return std::nullopt;
  }
  const bool down = take_start(rest, "input_blocks.");
  if (!down && !take_start(rest, "output_blocks.")) return std::nullopt;
  const auto block = take_number(rest);
  const auto part = take_number(rest);
  if (!block || !part || (down && *block == 0)) return std::nullopt;
  // Blocks are numbered through: the first one down is the input convolution, and each level's resampling ends it.
  const auto index = down ? *block - 1 : *block;
  const auto level = index / (resnets + 1);
  const auto inside = index % (resnets + 1);
  const auto place = fmt::format("{}_blocks.{}.", down ? "down" : "up", level);
  if (down && inside == resnets) {
    if (*part != 0 || !take_start(rest, "op.")) return std::nullopt;
    return PartName{fmt::format("{}downsamplers.0.conv.{}", place, rest), {}};
  }
  if (*part == 0) return by(unet_resnet, rest, fmt::format("{}resnets.{}.", place, inside));
  if (!down && take_start(rest, "conv.")) return PartName{fmt::format("{}upsamplers.0.conv.{}", place, rest), {}};
  if (*part == 1 && is_transformer(rest)) return PartName{fmt::format("{}attentions.{}.{}", place, inside, rest), {}};
  return std::nullopt;
}

std::optional<PartName> vae_name(std::string_view original, std::size_t levels) {
  if (original.starts_with("quant_conv.") || original.starts_with("post_quant_conv.")) {
    return PartName{std::string(original), {}};
  }
  auto rest = original;
  const bool encoder = take_start(rest, "encoder.");
  if (!encoder && !take_start(rest, "decoder.")) return std::nullopt;
  const std::string side = encoder ? "encoder." : "decoder.";
  if (const auto found = by(vae_outside, rest, side)) return found;
  if (take_start(rest, "mid.")) {
    if (take_start(rest, "block_1.")) return by(vae_resnet, rest, side + "mid_block.resnets.0.");
    if (take_start(rest, "block_2.")) return by(vae_resnet, rest, side + "mid_block.resnets.1.");
    if (take_start(rest, "attn_1.")) return by(vae_attention, rest, side + "mid_block.attentions.0.");
    return std::nullopt;
  }
  if (!take_start(rest, encoder ? "down." : "up.")) return std::nullopt;
  const auto level = take_number(rest);
  if (!level || *level >= levels) return std::nullopt;
  const auto place =
      fmt::format("{}{}_blocks.{}.", side, encoder ? "down" : "up", encoder ? *level : levels - 1 - *level);
  if (take_start(rest, "block.")) {
    const auto which = take_number(rest);
    if (!which) return std::nullopt;
    return by(vae_resnet, rest, fmt::format("{}resnets.{}.", place, *which));
  }
  if (take_start(rest, encoder ? "downsample.conv." : "upsample.conv.")) {
    return PartName{fmt::format("{}{}samplers.0.conv.{}", place, encoder ? "down" : "up", rest), {}};
  }
  return std::nullopt;
}

std::optional<PartName> open_clip_name(std::string_view original, std::size_t third) {
  auto rest = original;
  if (take_start(rest, "transformer.resblocks.")) {
    const auto block = take_number(rest);
    if (!block) return std::nullopt;
    const auto place = fmt::format("text_model.encoder.layers.{}.", *block);
    if (take_start(rest, "attn.in_proj_")) {
      constexpr std::array<std::string_view, 3> parts = {"q", "k", "v"};
      if (third >= parts.size() || (rest != "weight" && rest != "bias")) return std::nullopt;
      return PartName{fmt::format("{}self_attn.{}_proj.{}", place, parts[third], rest), third};
    }
    return third == 0 ? by(clip_block, rest, place) : std::nullopt;
  }
  if (third != 0) return std::nullopt;
  if (original == "positional_embedding") return PartName{"text_model.embeddings.position_embedding.weight", {}};
  if (original == "token_embedding.weight") return PartName{"text_model.embeddings.token_embedding.weight", {}};
  if (original == "text_projection") return PartName{"text_projection.weight", {}, true};
  if (take_start(rest, "ln_final.")) return PartName{fmt::format("text_model.final_layer_norm.{}", rest), {}};
  return std::nullopt;
}

}  // namespace gf::pipeline
