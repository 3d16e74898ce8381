#include "torch/original_names.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace gf::torch {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array<Pair, 7> outside = {{{"conv_in.", "input_blocks.0.0."},
                                          {"time_embedding.linear_1.", "time_embed.0."},
                                          {"time_embedding.linear_2.", "time_embed.2."},
                                          {"add_embedding.linear_1.", "label_emb.0.0."},
                                          {"add_embedding.linear_2.", "label_emb.0.2."},
                                          {"conv_norm_out.", "out.0."},
                                          {"conv_out.", "out.2."}}};

constexpr std::array<Pair, 6> in_resnet = {{{"norm1.", "in_layers.0."},
                                            {"conv1.", "in_layers.2."},
                                            {"time_emb_proj.", "emb_layers.1."},
                                            {"norm2.", "out_layers.0."},
                                            {"conv2.", "out_layers.3."},
                                            {"conv_shortcut.", "skip_connection."}}};

/// Takes `text` from the front of `from`.
bool take(std::string_view& from, std::string_view text) {
  if (!from.starts_with(text)) return false;
  from.remove_prefix(text.size());
  return true;
}

/// Takes a number and the dot behind it.
std::optional<std::size_t> take_number(std::string_view& from) {
  std::size_t value = 0;
  const auto end = from.find('.');
  if (end == std::string_view::npos) return std::nullopt;
  const auto [stop, error] = std::from_chars(from.data(), from.data() + end, value);
  if (error != std::errc() || stop != from.data() + end) return std::nullopt;
  from.remove_prefix(end + 1);
  return value;
}

std::string resnet_part(std::string_view rest) {
  for (const auto& [now, original] : in_resnet) {
    if (rest.starts_with(now)) return fmt::format("{}{}", original, rest.substr(now.size()));
  }
  return std::string(rest);
}

}  // namespace

std::string original_unet_name(const UnetConfig& config, std::string_view name) {
  for (const auto& [now, original] : outside) {
    if (name.starts_with(now)) return fmt::format("{}{}", original, name.substr(now.size()));
  }
  const auto resnets = static_cast<std::size_t>(config.resnets);
  auto rest = name;
  if (take(rest, "mid_block.")) {
    if (take(rest, "attentions.0.")) return fmt::format("middle_block.1.{}", rest);
    if (take(rest, "resnets.")) {
      if (const auto which = take_number(rest)) return fmt::format("middle_block.{}.{}", *which * 2, resnet_part(rest));
    }
    return std::string(name);
  }
  const bool down = take(rest, "down_blocks.");
  if (!down && !take(rest, "up_blocks.")) return std::string(name);
  const auto level = take_number(rest);
  if (!level || *level >= config.levels.size()) return std::string(name);
  // Blocks are numbered through: the first one down is the input convolution, and each level's resampling ends it.
  const auto first = down ? 1 + *level * (resnets + 1) : *level * (resnets + 1);
  const std::string_view side = down ? "input_blocks" : "output_blocks";
  if (take(rest, "resnets.")) {
    if (const auto which = take_number(rest)) {
      return fmt::format("{}.{}.0.{}", side, first + *which, resnet_part(rest));
    }
  } else if (take(rest, "attentions.")) {
    if (const auto which = take_number(rest)) return fmt::format("{}.{}.1.{}", side, first + *which, rest);
  } else if (down && take(rest, "downsamplers.0.conv.")) {
    return fmt::format("{}.{}.0.op.{}", side, first + resnets, rest);
  } else if (!down && take(rest, "upsamplers.0.conv.")) {
    const bool attends = config.levels[config.levels.size() - 1 - *level].up_attention;
    return fmt::format("{}.{}.{}.conv.{}", side, first + resnets, attends ? 2 : 1, rest);
  }
  return std::string(name);
}

}  // namespace gf::torch
