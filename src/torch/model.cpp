#include "torch/model.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"
#include "torch/original_names.hpp"
#include "torch/schedule.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <utility>

namespace gf::torch {
namespace {

constexpr std::uint64_t largest_config_bytes = 4 << 20;
constexpr std::uint64_t largest_vocabulary_bytes = 64 << 20;

/// A part's weights between check and read.
struct PendingPart {
  WeightList list;
  WeightReader reader;
};

Result<JsonDocument> read_json(const Host& host, const std::string& path) {
  GF_TRY(const auto text, host.read_text(path, largest_config_bytes));
  return parse_json(text, path);
}

void warn_unknown(const Host& host, const std::string& folder, const std::vector<std::string>& names) {
  if (names.empty() || !host.log_enabled(LogLevel::warning)) return;
  host.log(LogLevel::warning, fmt::format("{}: {} tensors are not part of the network, the first is {}", folder,
                                          names.size(), shown(names.front())));
}

Result<Tokenizer> read_tokenizer(const Host& host, const std::string& folder) {
  Tokenizer::Files files;
  files.vocabulary_path = join_path(folder, "vocab.json");
  files.merges_path = join_path(folder, "merges.txt");
  files.config_path = join_path(folder, "tokenizer_config.json");
  GF_TRY(files.vocabulary, host.read_text(files.vocabulary_path, largest_vocabulary_bytes));
  GF_TRY(files.merges, host.read_text(files.merges_path, largest_vocabulary_bytes));
  if (host.has_file(files.config_path)) {
    GF_TRY(files.config, host.read_text(files.config_path, largest_config_bytes));
  }
  return Tokenizer::make(files);
}

}  // namespace

const char* Model::family() const {
  if (index_.two_text_encoders) return "sdxl";
  // Stable Diffusion 2 took OpenCLIP's encoder of width 1024, whose activation is the exact GELU; 1.x took OpenAI's.
  return text_.front().encoder->config().quick_gelu ? "sd15" : "sd2";
}

Result<std::unique_ptr<Model>> Model::load(const Host& host, const std::string& folder, std::uint32_t device,
                                           const Call& call, VaeParts vae_parts) {
  std::unique_ptr<Model> model(new Model(host, folder, device));
  const auto index_path = join_path(folder, "model_index.json");
  GF_TRY(const auto index_json, read_json(host, index_path));
  GF_TRY(model->index_, read_model_index(*index_json, index_path));

  const auto scheduler_path = join_path(folder, "scheduler/scheduler_config.json");
  GF_TRY(const auto scheduler_json, read_json(host, scheduler_path));
  GF_TRY(model->scheduler_, read_scheduler_config(*scheduler_json, scheduler_path));
  // Asked for its ends here, so that numbers that give no schedule are found before anything large is read.
  GF_TRYV(noise_levels_are_sound(model->scheduler_, scheduler_path));
  GF_TRYV(call.check());

  std::vector<PendingPart> pending;
  const auto check = [&](const std::string& part, const char* stem, auto& network) -> Result<void> {
    const auto part_folder = join_path(folder, part);
    GF_TRY(auto reader, WeightReader::open(host, part_folder, stem));
    WeightList list;
    network.declare(list);
    GF_TRYV(reader.check(list));
    warn_unknown(host, part_folder, reader.unknown());
    pending.push_back({std::move(list), std::move(reader)});
    return call.check();
  };

  const std::size_t encoders = model->index_.two_text_encoders ? 2 : 1;
  std::int64_t text_width = 0;
  for (std::size_t i = 0; i < encoders; ++i) {
    const std::string suffix = i == 0 ? "" : "_2";
    const auto config_path = join_path(folder, "text_encoder" + suffix + "/config.json");
    GF_TRY(const auto json, read_json(host, config_path));
    GF_TRY(const auto config, read_text_config(*json, config_path, i == 1));
    GF_TRY(auto tokenizer, read_tokenizer(host, join_path(folder, "tokenizer" + suffix)));
    if (tokenizer.vocabulary_size() > static_cast<std::size_t>(config.vocabulary)) {
      return Error{Status::corrupt_file,
                   fmt::format("{}: vocab_size is {}, and the tokenizer beside it gives ids up to {}", config_path,
                               config.vocabulary, tokenizer.vocabulary_size() - 1),
                   {}};
    }
    text_width += config.hidden;
    model->max_tokens_ = i == 0 ? static_cast<std::size_t>(config.positions)
                                : std::min(model->max_tokens_, static_cast<std::size_t>(config.positions));
    model->text_.push_back(
        {std::make_shared<const Tokenizer>(std::move(tokenizer)), std::make_shared<TextEncoder>(config)});
    GF_TRYV(check("text_encoder" + suffix, "model", *model->text_.back().encoder));
  }

  const auto unet_path = join_path(folder, "unet/config.json");
  GF_TRY(const auto unet_json, read_json(host, unet_path));
  GF_TRY(const auto unet_config, read_unet_config(*unet_json, unet_path));
  if (unet_config.cross_attention != text_width) {
    return Error{Status::corrupt_file,
                 fmt::format("{}: cross_attention_dim is {}, and the text encoders give {}", unet_path,
                             unet_config.cross_attention, text_width),
                 {}};
  }
  if (model->index_.two_text_encoders != unet_config.text_time) {
    return Error{Status::unsupported_format,
                 fmt::format("{}: addition_embed_type is {}, which does not go with {}", unet_path,
                             unet_config.text_time ? "text_time" : "missing", model->index_.pipeline),
                 {}};
  }
  if (unet_config.text_time) {
    const auto pooled = model->text_.back().encoder->config().projection;
    if (unet_config.addition_input != pooled + 6 * unet_config.addition_time_dim) {
      return Error{Status::corrupt_file,
                   fmt::format("{}: projection_class_embeddings_input_dim is {}; text of {} and 6 sizes of {} make {}",
                               unet_path, unet_config.addition_input, pooled, unet_config.addition_time_dim,
                               pooled + 6 * unet_config.addition_time_dim),
                   {}};
    }
  }
  model->unet_ = std::make_shared<Unet>(unet_config);
  GF_TRYV(check("unet", "diffusion_pytorch_model", *model->unet_));

  const auto vae_path = join_path(folder, "vae/config.json");
  GF_TRY(const auto vae_json, read_json(host, vae_path));
  GF_TRY(const auto vae_config, read_vae_config(*vae_json, vae_path));
  if (vae_config.latent_channels != unet_config.in_channels || vae_config.latent_channels != unet_config.out_channels) {
    return Error{Status::corrupt_file,
                 fmt::format("{}: latent_channels is {}, and the UNet takes {} and gives {}", vae_path,
                             vae_config.latent_channels, unet_config.in_channels, unet_config.out_channels),
                 {}};
  }
  model->vae_ = std::make_shared<Vae>(vae_config, vae_parts);
  GF_TRYV(check("vae", "diffusion_pytorch_model", *model->vae_));

  LoadProgress progress{call};
  for (const auto& part : pending) {
    progress.total += part.reader.memory_bytes();
    model->file_bytes_ += part.reader.file_bytes();
    model->parameters_ += part.reader.parameters();
  }
  GF_TRY(model->weights_, Charge::reserve(host, device, GF_BACKEND_MEMORY_WEIGHTS, progress.total));
  for (auto& part : pending) {
    GF_TRYV(part.reader.read(part.list, progress));
  }
  model->weights_.commit();
  // For pictures of the size that the model was trained at.
  const auto trained = model->unet_->config().sample_size;
  model->unet_->pack(trained, trained);
  model->vae_->pack(trained, trained);
  return model;
}

std::uint64_t Model::weight_bytes() const {
  const std::lock_guard lock(encoder_mutex_);
  return weights_.bytes() + encoder_weights_.bytes();
}

Result<std::unique_ptr<Model>> Model::with_loras(std::vector<LoraUse> uses, bool strict, const Call& call,
                                                 std::vector<std::string>& warnings) const {
  std::unique_ptr<Model> made(new Model(host_, folder_, device_));
  made->base_ = this;
  made->index_ = index_;
  made->scheduler_ = scheduler_;
  made->text_ = text_;
  made->unet_ = unet_;
  made->vae_ = vae_;
  made->file_bytes_ = file_bytes_;
  made->parameters_ = parameters_;
  made->max_tokens_ = max_tokens_;

  const auto targets_of = [](auto& network) {
    WeightList list;
    network.declare(list);
    return list.targets();
  };
  std::shared_ptr<Unet> unet = unet_->twin();
  std::vector<std::shared_ptr<TextEncoder>> encoders;
  std::vector<LoraNetwork> networks;
  networks.push_back({{"lora_unet_", "unet.", ""}, targets_of(*unet), [this](std::string_view name) {
                        return original_unet_name(unet_->config(), name);
                      }});
  for (std::size_t i = 0; i < text_.size(); ++i) {
    encoders.push_back(text_[i].encoder->twin());
    const auto number = text_.size() == 1 ? std::string() : std::to_string(i + 1);
    networks.push_back(
        {{"lora_te" + number + "_", i == 0 ? "text_encoder." : "text_encoder_2."}, targets_of(*encoders.back()), {}});
  }
  GF_TRY(const auto patch, LoraPatch::plan(std::move(uses), networks, strict));
  warnings = patch.warnings();
  GF_TRY(made->weights_, Charge::reserve(host_, device_, GF_BACKEND_MEMORY_WEIGHTS, patch.bytes()));
  if (patch.touches(0)) {
    GF_TRYV(patch.apply(0, networks[0].targets, call));
    const auto trained = unet->config().sample_size;
    unet->pack(trained, trained);
    made->unet_ = std::move(unet);
  }
  for (std::size_t i = 0; i < encoders.size(); ++i) {
    if (!patch.touches(i + 1)) continue;
    GF_TRYV(patch.apply(i + 1, networks[i + 1].targets, call));
    made->text_[i].encoder = std::move(encoders[i]);
  }
  made->weights_.commit();
  return made;
}

Result<std::uint64_t> Model::need_encoder(const Call& call) const {
  if (base_ != nullptr) return base_->need_encoder(call);
  if (vae_->parts() == VaeParts::both) return std::uint64_t{0};
  const std::lock_guard lock(encoder_mutex_);
  if (encoder_) return std::uint64_t{0};
  auto made = std::make_unique<Vae>(vae_->config(), VaeParts::encoder);
  GF_TRY(auto reader, WeightReader::open(host_, join_path(folder_, "vae"), "diffusion_pytorch_model"));
  WeightList list;
  made->declare(list);
  GF_TRYV(reader.check(list));
  LoadProgress progress{call};
  progress.total = reader.memory_bytes();
  GF_TRY(auto charge, Charge::reserve(host_, device_, GF_BACKEND_MEMORY_WEIGHTS, progress.total));
  GF_TRYV(reader.read(list, progress));
  charge.commit();
  encoder_weights_ = std::move(charge);
  encoder_ = std::move(made);
  return encoder_weights_.bytes();
}

Result<Vae::Distribution> Model::encode_image(const at::Tensor& image) const {
  if (base_ != nullptr) return base_->encode_image(image);
  if (vae_->parts() == VaeParts::both) return vae_->encode(image);
  const Vae* encoder = nullptr;
  {
    const std::lock_guard lock(encoder_mutex_);
    encoder = encoder_.get();
  }
  if (encoder == nullptr) return Error{Status::wrong_state, "the encoder of pictures is not loaded", {}};
  return encoder->encode(image);
}

Model::Side Model::encode_part(std::size_t part, const std::vector<PromptChunk>& chunks, std::int64_t clip_skip) const {
  const auto& encoder = text_[part].encoder;
  Side joined;
  std::vector<at::Tensor> rows;
  for (const auto& chunk : chunks) {
    const auto ids = at::tensor(chunk.ids, at::TensorOptions().dtype(at::kLong)).unsqueeze(0);
    auto states = encoder->forward(ids);
    // SDXL takes the last but one layer before the final norm; SD 1.5 and 2 the last one after it.
    const auto from_last = [&](std::int64_t layers) {
      return states.hidden[states.hidden.size() - 1 - static_cast<std::size_t>(layers)];
    };
    auto hidden = index_.two_text_encoders ? from_last(clip_skip + 1)
                  : clip_skip == 0         ? states.last
                                           : encoder->final_norm(from_last(clip_skip));
    if (chunk.weighs) {
      // Weights pull the mean along, which is put back, as in webui's "Original" emphasis.
      const auto weights = at::tensor(chunk.weights).view({1, -1, 1});
      const auto weighted = hidden * weights;
      const auto ratio = hidden.mean() / weighted.mean();
      hidden = ratio.isfinite().item<bool>() ? weighted * ratio : weighted;
    }
    rows.push_back(std::move(hidden));
    // What is said of the prompt as a whole is the first chunk's.
    if (!joined.pooled.defined()) joined.pooled = std::move(states.pooled);
  }
  joined.hidden = rows.size() == 1 ? rows.front() : at::cat(rows, 1);
  return joined;
}

Result<Conditioning> Model::encode(const Prompts& prompts, const Call& call) const {
  Conditioning conditioning;
  conditioning.guidance = prompts.guidance;
  const auto sides = prompts.guidance ? 2u : 1u;
  const auto total = text_.size() * sides;
  std::size_t done = 0;
  for (const auto& part : text_) {
    const auto most = part.encoder->config().layers - 1;
    if (prompts.clip_skip < 0 || prompts.clip_skip > most) {
      return Error{Status::invalid_argument,
                   fmt::format("clip_skip is {}; this model takes 0 to {}", prompts.clip_skip, most),
                   {}};
    }
  }
  const auto encode_side = [&](const Prompt& first, const Prompt& second, std::int64_t clip_skip,
                               PromptLength& length) -> Result<Side> {
    std::vector<PromptChunks> read;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      GF_TRY(auto chunks, chunks_of(i == 0 ? first : second, *text_[i].tokenizer, max_tokens_, prompts.longer));
      length.tokens = std::max(length.tokens, chunks.tokens);
      length.chunks = std::max(length.chunks, chunks.chunks.size());
      length.cut = std::max(length.cut, chunks.cut);
      read.push_back(std::move(chunks));
    }
    Side joined;
    std::vector<at::Tensor> hidden;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      GF_TRYV(call.check());
      // The encoders' states stand side by side, so the shorter prompt goes on with empty chunks.
      auto& chunks = read[i].chunks;
      while (chunks.size() < length.chunks) {
        GF_TRY(auto empty, chunks_of(Prompt(""), *text_[i].tokenizer, max_tokens_, prompts.longer));
        chunks.push_back(std::move(empty.chunks.front()));
      }
      auto side = encode_part(i, chunks, clip_skip);
      hidden.push_back(std::move(side.hidden));
      joined.pooled = std::move(side.pooled);  // Of the last encoder: that one has the projection.
      call.progress(GF_BACKEND_STAGE_ENCODING, ++done, total);
    }
    joined.hidden = hidden.size() == 1 ? hidden.front() : at::cat(hidden, -1);
    return joined;
  };
  GF_TRY(auto positive, encode_side(prompts.prompt, prompts.prompt_2.value_or(prompts.prompt), prompts.clip_skip,
                                    conditioning.length));
  conditioning.positive = positive.hidden;
  conditioning.pooled = positive.pooled;
  if (prompts.guidance) {
    Side negative;
    if (!prompts.negative && index_.two_text_encoders && index_.zeros_for_empty_prompt) {
      negative = {at::zeros_like(positive.hidden), at::zeros_like(positive.pooled)};
      done += text_.size();
      call.progress(GF_BACKEND_STAGE_ENCODING, done, total);
    } else {
      const auto text = prompts.negative.value_or(Prompt(""));
      GF_TRY(negative, encode_side(text, prompts.negative_2.value_or(text), 0, conditioning.negative_length));
    }
    conditioning.negative = negative.hidden;
    conditioning.pooled = at::cat({negative.pooled, positive.pooled}, 0);
  }
  const auto finite = [](const at::Tensor& x) { return !x.defined() || x.isfinite().all().item<bool>(); };
  if (!finite(conditioning.positive) || !finite(conditioning.negative) || !finite(conditioning.pooled)) {
    return Error{
        Status::not_finite, "the text encoders gave values that are not finite; their weights may be damaged", {}};
  }
  const auto& positive_states = conditioning.positive;
  const auto& negative_states = conditioning.negative;
  if (!prompts.guidance) {
    conditioning.context = unet_->context({positive_states});
  } else if (negative_states.size(1) == positive_states.size(1)) {
    conditioning.context = unet_->context({at::cat({negative_states, positive_states}, 0)});
  } else {
    conditioning.context = unet_->context({negative_states, positive_states});
  }
  if (!unet_->config().text_time) conditioning.pooled = at::Tensor();
  return conditioning;
}

}  // namespace gf::torch
