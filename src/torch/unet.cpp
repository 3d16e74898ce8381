#include "torch/unet.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tuple>
#include <utility>

namespace gf::torch {
namespace {

constexpr double transformer_norm_eps = 1e-6;  // Of the group norm before a transformer; set in diffusers' code.
constexpr double block_norm_eps = 1e-5;        // Of the layer norms inside.

}  // namespace

Unet::Unet(const UnetConfig& config) : config_(config), down_(config.levels.size()), up_(config.levels.size()) {
  const auto levels = config.levels.size();
  for (std::size_t i = 0; i < levels; ++i) {
    const auto resnets = static_cast<std::size_t>(config.resnets);
    down_[i].resnets.resize(resnets);
    if (config.levels[i].down_attention) down_[i].attentions.resize(resnets);
    up_[i].resnets.resize(resnets + 1);
    if (config.levels[levels - 1 - i].up_attention) up_[i].attentions.resize(resnets + 1);
  }
  middle_.resnets.resize(2);
  middle_.attentions.resize(1);
}

void Unet::Transformer::declare(WeightList& list, const std::string& name, const UnetConfig& config,
                                std::int64_t channels, std::int64_t heads, std::int64_t depth) {
  norm.declare(list, name + ".norm", channels, config.groups, transformer_norm_eps);
  // With channels last a 1x1 convolution is the same multiplication, so both kinds are linear layers here.
  in.declare(list, name + ".proj_in", channels, channels);
  blocks.resize(static_cast<std::size_t>(depth));
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto& block = blocks[i];
    const auto part = fmt::format("{}.transformer_blocks.{}.", name, i);
    block.heads = heads;
    block.norm1.declare(list, part + "norm1", channels, block_norm_eps);
    list.add_stacked({{part + "attn1.to_q.weight", channels},
                      {part + "attn1.to_k.weight", channels},
                      {part + "attn1.to_v.weight", channels}},
                     {channels}, static_cast<Packable*>(&block.self_qkv));
    block.self_out.declare(list, part + "attn1.to_out.0", channels, channels);
    block.norm2.declare(list, part + "norm2", channels, block_norm_eps);
    block.cross_q.declare(list, part + "attn2.to_q", channels, channels, false);
    list.add_stacked({{part + "attn2.to_k.weight", channels}, {part + "attn2.to_v.weight", channels}},
                     {config.cross_attention}, static_cast<Packable*>(&block.cross_kv));
    block.cross_out.declare(list, part + "attn2.to_out.0", channels, channels);
    block.norm3.declare(list, part + "norm3", channels, block_norm_eps);
    list.add_split(part + "ff.net.0.proj.weight", {8 * channels, channels},
                   std::vector<Packable*>{&block.values, &block.gates});
    list.add_split(part + "ff.net.0.proj.bias", {8 * channels},
                   std::vector<at::Tensor*>{&block.values.bias, &block.gates.bias});
    block.down.declare(list, part + "ff.net.2", 4 * channels, channels);
  }
  out.declare(list, name + ".proj_out", channels, channels);
}

void Unet::declare_resnet(WeightList& list, const std::string& name, Resnet& resnet, std::int64_t in,
                          std::int64_t out) {
  resnet.block.declare(list, name, in, out, config_.groups, config_.norm_eps);
  resnet.offset = offset_channels_;
  resnet.channels = out;
  offset_channels_ += out;
  offset_weights_.push_back({name + ".time_emb_proj.weight", out});
  offset_biases_.push_back({name + ".time_emb_proj.bias", out});
}

void Unet::declare(WeightList& list) {
  offset_channels_ = 0;
  offset_weights_.clear();
  offset_biases_.clear();
  const auto levels = config_.levels.size();
  const auto first = config_.levels.front().channels;
  const auto time = 4 * first;
  time_1_.declare(list, "time_embedding.linear_1", first, time);
  time_2_.declare(list, "time_embedding.linear_2", time, time);
  if (config_.text_time) {
    add_1_.declare(list, "add_embedding.linear_1", config_.addition_input, time);
    add_2_.declare(list, "add_embedding.linear_2", time, time);
  }
  conv_in_.declare(list, "conv_in", config_.in_channels, first);

  auto width = first;
  for (std::size_t i = 0; i < levels; ++i) {
    auto& level = down_[i];
    const auto& shape = config_.levels[i];
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      declare_resnet(list, fmt::format("down_blocks.{}.resnets.{}", i, j), level.resnets[j], width, shape.channels);
      width = shape.channels;
      if (!level.attentions.empty()) {
        level.attentions[j].declare(list, fmt::format("down_blocks.{}.attentions.{}", i, j), config_, width,
                                    shape.heads, shape.transformer_depth);
      }
    }
    if (i + 1 < levels)
      level.resample.declare(list, fmt::format("down_blocks.{}.downsamplers.0.conv", i), width, width, 3, 2);
  }

  const auto& deepest = config_.levels.back();
  declare_resnet(list, "mid_block.resnets.0", middle_.resnets[0], width, width);
  middle_.attentions[0].declare(list, "mid_block.attentions.0", config_, width, deepest.heads,
                                deepest.transformer_depth);
  declare_resnet(list, "mid_block.resnets.1", middle_.resnets[1], width, width);

  for (std::size_t i = 0; i < levels; ++i) {
    auto& level = up_[i];
    const auto& shape = config_.levels[levels - 1 - i];
    // The skip connections come from the down path, last first; the last one of an up block is the level below's input.
    const auto below = config_.levels[i + 1 < levels ? levels - 2 - i : 0].channels;
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      const auto skip = j + 1 == level.resnets.size() ? below : shape.channels;
      declare_resnet(list, fmt::format("up_blocks.{}.resnets.{}", i, j), level.resnets[j], width + skip,
                     shape.channels);
      width = shape.channels;
      if (!level.attentions.empty()) {
        level.attentions[j].declare(list, fmt::format("up_blocks.{}.attentions.{}", i, j), config_, width, shape.heads,
                                    shape.transformer_depth);
      }
    }
    if (i + 1 < levels) level.resample.declare(list, fmt::format("up_blocks.{}.upsamplers.0.conv", i), width, width);
  }
  norm_out_.declare(list, "conv_norm_out", first, config_.groups, config_.norm_eps);
  conv_out_.declare(list, "conv_out", first, config_.out_channels);
  list.add_stacked(offset_weights_, {time}, static_cast<Packable*>(&offsets_));
  list.add_stacked(offset_biases_, {}, &offsets_.bias);
}

void Unet::pack(std::int64_t height, std::int64_t width) {
  constexpr std::int64_t batch = 2;
  const auto pack_level = [](Level& level, std::int64_t h, std::int64_t w) {
    for (auto& resnet : level.resnets) resnet.block.pack(batch, h, w);
    const auto rows = batch * h * w;
    for (auto& attention : level.attentions) {
      attention.in.pack(rows);
      attention.out.pack(rows);
      for (auto& block : attention.blocks) {
        // The prompt's keys and values are computed once a run: not worth a second form.
        for (auto* layer : {&block.self_qkv, &block.self_out, &block.cross_q, &block.cross_out, &block.values,
                            &block.gates, &block.down}) {
          layer->pack(rows);
        }
      }
    }
  };
  conv_in_.pack(batch, height, width);
  std::vector<std::pair<std::int64_t, std::int64_t>> sizes = {{height, width}};
  for (auto& level : down_) {
    pack_level(level, height, width);
    if (!level.resample.defined()) continue;
    level.resample.pack(batch, height, width);
    height = (height + 1) / 2;
    width = (width + 1) / 2;
    sizes.emplace_back(height, width);
  }
  pack_level(middle_, height, width);
  for (auto& level : up_) {
    std::tie(height, width) = sizes.back();
    sizes.pop_back();
    pack_level(level, height, width);
    if (level.resample.defined()) level.resample.pack(batch, sizes.back().first, sizes.back().second);
  }
  conv_out_.pack(batch, height, width);
}

template <class Visit>
void Unet::each_block(Visit&& visit) const {
  const auto level_blocks = [&](const Level& level) {
    for (const auto& attention : level.attentions) {
      for (const auto& block : attention.blocks) visit(block);
    }
  };
  for (const auto& level : down_) level_blocks(level);
  level_blocks(middle_);
  for (const auto& level : up_) level_blocks(level);
}

UnetContext Unet::context(const std::vector<at::Tensor>& embeddings) const {
  UnetContext context;
  each_block([&](const TransformerBlock& block) {
    auto& of_block = context.blocks.emplace_back();
    for (const auto& side : embeddings) {
      const auto both = block.cross_kv.forward(side).chunk(2, -1);
      const auto split = [&](const at::Tensor& x) {
        return x.view({x.size(0), x.size(1), block.heads, x.size(2) / block.heads}).transpose(1, 2).contiguous();
      };
      of_block.push_back({split(both[0]), split(both[1])});
    }
  });
  return context;
}

UnetTimes Unet::times(const at::Tensor& timesteps, const at::Tensor& pooled, const at::Tensor& sizes,
                      std::int64_t batch) const {
  const auto embed = [](const Linear& first, const Linear& second, const at::Tensor& x) {
    return second.forward(at::silu(first.forward(x)));
  };
  const auto wave = sinusoidal(timesteps, config_.levels.front().channels, config_.flip_sin_to_cos, config_.freq_shift);
  probe("time_proj", wave);
  auto embedding = embed(time_1_, time_2_, wave);
  probe("time_embedding", embedding);
  embedding = embedding.unsqueeze(1);  // [steps, 1, time]
  if (config_.text_time) {
    const auto size_waves =
        sinusoidal(sizes.flatten(), config_.addition_time_dim, config_.flip_sin_to_cos, config_.freq_shift);
    const auto added = embed(add_1_, add_2_, at::cat({pooled, size_waves.reshape({batch, -1})}, -1));
    probe("add_embedding", added);
    embedding = embedding + added.unsqueeze(0);
  } else {
    embedding = embedding.expand({-1, batch, -1});
  }
  return {offsets_.forward(at::silu(embedding))};
}

at::Tensor Unet::run(const Resnet& resnet, const at::Tensor& x, const Pass& pass) const {
  return resnet.block.forward(x, pass.offsets.narrow(1, resnet.offset, resnet.channels), pass.wrap);
}

at::Tensor Unet::run(const TransformerBlock& block, const at::Tensor& input, Pass& pass) const {
  const auto qkv = block.self_qkv.forward(block.norm1.forward(input)).chunk(3, -1);
  auto x = block.self_out.forward(attend(qkv[0], qkv[1], qkv[2], block.heads)).add_(input);

  const auto& prompt = pass.context.blocks[pass.next_block++];
  const auto q = block.cross_q.forward(block.norm2.forward(x));
  const auto split = q.view({q.size(0), q.size(1), block.heads, q.size(2) / block.heads}).transpose(1, 2);
  const auto attend_to = [](const at::Tensor& queries, const UnetContext::KeysValues& side) {
    return at::scaled_dot_product_attention(queries, side.keys, side.values);
  };
  const auto mixed =
      prompt.size() == 1
          ? attend_to(split, prompt.front())
          : at::cat({attend_to(split.narrow(0, 0, 1), prompt.front()), attend_to(split.narrow(0, 1, 1), prompt.back())},
                    0);
  x = block.cross_out.forward(mixed.transpose(1, 2).reshape(q.sizes())).add_(x);

  const auto normed = block.norm3.forward(x);
  return block.down.forward(block.gates.forward_gelu(normed).mul_(block.values.forward(normed))).add_(x);
}

at::Tensor Unet::run(const Transformer& transformer, const at::Tensor& x, Pass& pass) const {
  auto tokens = transformer.in.forward(to_tokens(transformer.norm.forward(x)));
  for (const auto& block : transformer.blocks) tokens = run(block, tokens, pass);
  return from_tokens(transformer.out.forward(tokens), x.size(2), x.size(3)).add_(x);
}

at::Tensor Unet::forward(const at::Tensor& sample, const UnetTimes& times, std::int64_t step,
                         const UnetContext& context, Wrap wrap) const {
  Pass pass{times.offsets.select(0, step), context, wrap};
  auto x = conv_in_.forward(sample.contiguous(at::MemoryFormat::ChannelsLast), wrap);
  probe("conv_in", x);
  std::vector<at::Tensor> skips = {x};
  for (std::size_t i = 0; i < down_.size(); ++i) {
    const auto& level = down_[i];
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      x = run(level.resnets[j], x, pass);
      if (probe_) probe_(fmt::format("down_blocks.{}.resnets.{}", i, j), x);
      if (!level.attentions.empty()) {
        x = run(level.attentions[j], x, pass);
        if (probe_) probe_(fmt::format("down_blocks.{}.attentions.{}", i, j), x);
      }
      skips.push_back(x);
    }
    if (level.resample.defined()) {
      x = level.resample.forward(x, wrap);
      skips.push_back(x);
    }
    if (probe_) probe_(fmt::format("down_blocks.{}", i), x);
  }
  x = run(middle_.resnets[0], x, pass);
  x = run(middle_.attentions[0], x, pass);
  x = run(middle_.resnets[1], x, pass);
  probe("mid_block", x);
  for (std::size_t i = 0; i < up_.size(); ++i) {
    const auto& level = up_[i];
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      x = at::cat({x, skips.back()}, 1);
      skips.pop_back();
      x = run(level.resnets[j], x, pass);
      if (!level.attentions.empty()) x = run(level.attentions[j], x, pass);
    }
    if (level.resample.defined()) {
      // To the size of the next skip, which is not twice ours where a side was odd on the way down.
      x = level.resample.forward(at::upsample_nearest2d(x, {skips.back().size(2), skips.back().size(3)}), wrap);
    }
    if (probe_) probe_(fmt::format("up_blocks.{}", i), x);
  }
  x = norm_out_.forward_silu(x);
  return conv_out_.forward(x, wrap);
}

}  // namespace gf::torch
