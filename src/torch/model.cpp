#include "torch/model.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"
#include "torch/allocator.hpp"
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

/// A network with its bytes: promised where libtorch's allocator does not charge, and counted as its model's.
template <class Network>
struct Holder {
  std::unique_ptr<Network> network;
  Charge charge;
  std::shared_ptr<std::atomic<std::uint64_t>> of_model;
  std::uint64_t bytes = 0;
  ~Holder() {
    if (of_model) *of_model -= bytes;
  }
};

/// Fills a network under a promise: `fill` gives it its weights, of `bytes` as far as is known beforehand.
template <class Network, class Fill>
Result<std::shared_ptr<Network>> filled(const Host& host, std::uint32_t device, std::unique_ptr<Network> network,
                                        std::uint64_t bytes,
                                        const std::shared_ptr<std::atomic<std::uint64_t>>& of_model, Fill&& fill) {
  const auto holder = std::make_shared<Holder<Network>>();
  holder->network = std::move(network);
  GF_TRY(holder->charge, Charge::reserve(host, device, GF_BACKEND_MEMORY_WEIGHTS, bytes));
  const Charging charging(host, device, GF_BACKEND_MEMORY_WEIGHTS, &holder->charge);
  GF_TRYV(fill(*holder->network));
  if (ledger_allocator_is_installed()) {
    holder->bytes = charging.bytes();
    holder->charge.end();
  } else {
    holder->bytes = bytes;
    holder->charge.commit();
  }
  *of_model += holder->bytes;
  holder->of_model = of_model;
  return std::shared_ptr<Network>(holder, holder->network.get());
}

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

/// For pictures of the size that the model was trained at.
void pack_as_trained(Unet& unet) {
  const auto trained = unet.config().sample_size;
  unet.pack(trained, trained);
}

}  // namespace

const char* Model::family() const {
  if (index_.two_text_encoders) return "sdxl";
  // Stable Diffusion 2 took OpenCLIP's encoder of width 1024, whose activation is the exact GELU; 1.x took OpenAI's.
  return text_.front().config.quick_gelu ? "sd15" : "sd2";
}

template <class Network, class Build, class Pack>
Result<std::shared_ptr<Part<Network>>> Model::file_part(const std::string& folder, const char* stem, Build build,
                                                        Pack pack, std::uint64_t* memory_bytes) {
  GF_TRY(auto opened, WeightReader::open(host_, folder, stem));
  const auto reader = std::make_shared<WeightReader>(std::move(opened));
  {
    const auto blank = build();
    WeightList list;
    blank->declare(list);
    GF_TRYV(reader->check(list));
  }
  warn_unknown(host_, folder, reader->unknown());
  if (memory_bytes != nullptr) {  // Of what the model is made of whatever is asked of it.
    *memory_bytes = reader->memory_bytes();
    file_bytes_ += reader->file_bytes();
    parameters_ += reader->parameters();
  }
  return std::make_shared<Part<Network>>([&host = host_, device = device_, held = weight_bytes_, reader, build,
                                          pack](LoadProgress& progress) -> Result<std::shared_ptr<Network>> {
    auto network = build();
    WeightList list;  // Like the one that was compared, for another network of the same config.
    network->declare(list);
    return filled(host, device, std::move(network), reader->memory_bytes(), held, [&](Network& into) -> Result<void> {
      GF_TRYV(reader->read(list, progress));
      pack(into);
      return success();
    });
  });
}

Result<std::unique_ptr<Model>> Model::load(const Host& host, const std::string& folder, std::uint32_t device,
                                           const Call& call, VaeParts vae_parts) {
  std::unique_ptr<Model> model(new Model(host, device));
  const auto index_path = join_path(folder, "model_index.json");
  GF_TRY(const auto index_json, read_json(host, index_path));
  GF_TRY(model->index_, read_model_index(*index_json, index_path));

  const auto scheduler_path = join_path(folder, "scheduler/scheduler_config.json");
  GF_TRY(const auto scheduler_json, read_json(host, scheduler_path));
  GF_TRY(model->scheduler_, read_scheduler_config(*scheduler_json, scheduler_path));
  // Asked for its ends here, so that numbers that give no schedule are found before anything large is read.
  GF_TRYV(noise_levels_are_sound(model->scheduler_, scheduler_path));
  GF_TRYV(call.check());

  LoadProgress progress{call};
  /// Counts a part whose bytes are among those to be read now.
  const auto counted = [&](std::uint64_t bytes) {
    progress.total += bytes;
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
    std::uint64_t bytes = 0;
    GF_TRY(auto encoder, model->file_part<TextEncoder>(
                             join_path(folder, "text_encoder" + suffix), "model",
                             [config] { return std::make_unique<TextEncoder>(config); }, [](TextEncoder&) {}, &bytes));
    GF_TRYV(counted(bytes));
    model->text_.push_back({std::make_shared<const Tokenizer>(std::move(tokenizer)), config, std::move(encoder)});
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
    const auto pooled = model->text_.back().config.projection;
    if (unet_config.addition_input != pooled + 6 * unet_config.addition_time_dim) {
      return Error{Status::corrupt_file,
                   fmt::format("{}: projection_class_embeddings_input_dim is {}; text of {} and 6 sizes of {} make {}",
                               unet_path, unet_config.addition_input, pooled, unet_config.addition_time_dim,
                               pooled + 6 * unet_config.addition_time_dim),
                   {}};
    }
  }
  model->unet_config_ = unet_config;
  std::uint64_t bytes = 0;
  GF_TRY(model->unet_, model->file_part<Unet>(
                           join_path(folder, "unet"), "diffusion_pytorch_model",
                           [unet_config] { return std::make_unique<Unet>(unet_config); }, pack_as_trained, &bytes));
  GF_TRYV(counted(bytes));

  const auto vae_path = join_path(folder, "vae/config.json");
  GF_TRY(const auto vae_json, read_json(host, vae_path));
  GF_TRY(const auto vae_config, read_vae_config(*vae_json, vae_path));
  if (vae_config.latent_channels != unet_config.in_channels || vae_config.latent_channels != unet_config.out_channels) {
    return Error{Status::corrupt_file,
                 fmt::format("{}: latent_channels is {}, and the UNet takes {} and gives {}", vae_path,
                             vae_config.latent_channels, unet_config.in_channels, unet_config.out_channels),
                 {}};
  }
  model->vae_config_ = vae_config;
  const auto half = [&](VaeParts parts, std::uint64_t* half_bytes) {
    return model->file_part<Vae>(
        join_path(folder, "vae"), "diffusion_pytorch_model",
        [vae_config, parts] { return std::make_unique<Vae>(vae_config, parts); },
        [trained = unet_config.sample_size](Vae& vae) {
          if (vae.parts() != VaeParts::encoder) vae.pack(trained, trained);
        },
        half_bytes);
  };
  GF_TRY(model->decoder_, half(vae_parts == VaeParts::encoder ? VaeParts::both : vae_parts, &bytes));
  GF_TRYV(counted(bytes));
  if (vae_parts == VaeParts::decoder) {
    GF_TRY(model->encoder_, half(VaeParts::encoder, nullptr));
  } else {
    model->encoder_ = model->decoder_;
  }

  if (call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) return model;
  // All of it is asked for at once, so that what does not fit is refused before anything is read.
  { GF_TRYV(Charge::reserve(host, device, GF_BACKEND_MEMORY_WEIGHTS, progress.total)); }
  for (const auto& part : model->text_) {
    GF_TRYV(part.encoder->use(progress));
  }
  GF_TRYV(model->unet_->use(progress));
  GF_TRYV(model->decoder_->use(progress));
  return model;
}

void Model::let_go_of_all_but(const AnyPart* one) const {
  const auto go = [&](AnyPart& part) {
    if (&part != one) part.let_go();
  };
  for (const auto& text : text_) go(*text.encoder);
  go(*unet_);
  go(*decoder_);
  go(*encoder_);
}

Result<std::shared_ptr<TextEncoder>> Model::use_text(std::size_t at, const Call& call) const {
  if (call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) let_go_of_all_but(text_[at].encoder.get());
  return text_[at].encoder->use(call);
}

Result<std::shared_ptr<Unet>> Model::use_unet(const Call& call) const {
  if (call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) let_go_of_all_but(unet_.get());
  return unet_->use(call);
}

Result<std::shared_ptr<Vae>> Model::use_decoder(const Call& call) const {
  if (call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) let_go_of_all_but(decoder_.get());
  return decoder_->use(call);
}

Result<std::shared_ptr<Vae>> Model::use_encoder(const Call& call) const {
  if (call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) let_go_of_all_but(encoder_.get());
  return encoder_->use(call);
}

Result<std::unique_ptr<Model>> Model::with_loras(std::vector<LoraUse> uses, bool strict, const Call& call,
                                                 std::vector<std::string>& warnings) const {
  std::unique_ptr<Model> made(new Model(host_, device_));
  made->index_ = index_;
  made->scheduler_ = scheduler_;
  made->unet_config_ = unet_config_;
  made->vae_config_ = vae_config_;
  made->text_ = text_;
  made->unet_ = unet_;
  made->decoder_ = decoder_;
  made->encoder_ = encoder_;
  made->file_bytes_ = file_bytes_;
  made->parameters_ = parameters_;
  made->max_tokens_ = max_tokens_;

  // Names and shapes are asked of networks without weights: which parts are here does not matter.
  const auto targets_of = [](auto& network) {
    WeightList list;
    network.declare(list);
    return list.targets();
  };
  Unet unet(unet_config_);
  std::vector<std::unique_ptr<TextEncoder>> encoders;
  std::vector<LoraNetwork> networks;
  networks.push_back({{"lora_unet_", "unet.", ""}, targets_of(unet), [this](std::string_view name) {
                        return original_unet_name(unet_config_, name);
                      }});
  for (std::size_t i = 0; i < text_.size(); ++i) {
    encoders.push_back(std::make_unique<TextEncoder>(text_[i].config));
    const auto number = text_.size() == 1 ? std::string() : std::to_string(i + 1);
    networks.push_back(
        {{"lora_te" + number + "_", i == 0 ? "text_encoder." : "text_encoder_2."}, targets_of(*encoders.back()), {}});
  }
  GF_TRY(auto planned, LoraPatch::plan(std::move(uses), networks, strict));
  const auto patch = std::make_shared<const LoraPatch>(std::move(planned));
  warnings = patch->warnings();

  std::uint64_t total = 0;
  const auto patched = [&]<class Network>(const std::shared_ptr<Part<Network>>& base, std::size_t number, auto pack) {
    total += patch->bytes(number);
    auto part = std::make_shared<Part<Network>>(
        [&host = host_, device = device_, held = made->weight_bytes_, base, patch, number, pack,
         targets_of](LoadProgress& progress) -> Result<std::shared_ptr<Network>> {
          GF_TRY(const auto plain, base->use(progress));
          // The twin shares what it leaves alone; the rest of the plain part is of no use then.
          if (progress.call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) base->let_go();
          return filled(host, device, plain->twin(), patch->bytes(number), held, [&](Network& into) -> Result<void> {
            GF_TRYV(patch->apply(number, targets_of(into), progress.call));
            pack(into);
            return success();
          });
        },
        base);
    return part;
  };
  if (patch->touches(0)) made->unet_ = patched(unet_, 0, pack_as_trained);
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (patch->touches(i + 1)) made->text_[i].encoder = patched(text_[i].encoder, i + 1, [](TextEncoder&) {});
  }
  if (call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) return made;
  { GF_TRYV(Charge::reserve(host_, device_, GF_BACKEND_MEMORY_WEIGHTS, total)); }
  if (patch->touches(0)) {
    GF_TRYV(made->unet_->use(call));
  }
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (!patch->touches(i + 1)) continue;
    GF_TRYV(made->text_[i].encoder->use(call));
  }
  return made;
}

std::shared_ptr<const UnetContext> Conditioning::context(const Unet& unet) const {
  const std::lock_guard lock(computed_->mutex);
  if (!computed_->context) {
    const auto of = [&]() -> UnetContext {
      if (!guidance) return unet.context({positive});
      if (negative.size(1) == positive.size(1)) return unet.context({at::cat({negative, positive}, 0)});
      return unet.context({negative, positive});
    };
    computed_->context = std::make_shared<const UnetContext>(of());
  }
  return computed_->context;
}

Model::Side Model::encode_part(const TextEncoder& encoder, const std::vector<PromptChunk>& chunks,
                               std::int64_t clip_skip) const {
  Side joined;
  std::vector<at::Tensor> rows;
  for (const auto& chunk : chunks) {
    const auto ids = at::tensor(chunk.ids, at::TensorOptions().dtype(at::kLong)).unsqueeze(0);
    auto states = encoder.forward(ids);
    // SDXL takes the last but one layer before the final norm; SD 1.5 and 2 the last one after it.
    const auto from_last = [&](std::int64_t layers) {
      return states.hidden[states.hidden.size() - 1 - static_cast<std::size_t>(layers)];
    };
    auto hidden = index_.two_text_encoders ? from_last(clip_skip + 1)
                  : clip_skip == 0         ? states.last
                                           : encoder.final_norm(from_last(clip_skip));
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
  for (const auto& part : text_) {
    const auto most = part.config.layers - 1;
    if (prompts.clip_skip < 0 || prompts.clip_skip > most) {
      return Error{Status::invalid_argument,
                   fmt::format("clip_skip is {}; this model takes 0 to {}", prompts.clip_skip, most),
                   {}};
    }
  }
  // What each encoder reads of each side: the positive, then the negative.
  struct Text {
    std::vector<PromptChunks> read;
    std::int64_t clip_skip = 0;
    std::vector<at::Tensor> hidden;  // Of each encoder.
    at::Tensor pooled;               // Of the last: that one has the projection.
  };
  std::vector<Text> sides;
  const auto read_side = [&](const Prompt& first, const Prompt& second, std::int64_t clip_skip,
                             PromptLength& length) -> Result<void> {
    Text side;
    side.clip_skip = clip_skip;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      GF_TRY(auto chunks, chunks_of(i == 0 ? first : second, *text_[i].tokenizer, max_tokens_, prompts.longer));
      length.tokens = std::max(length.tokens, chunks.tokens);
      length.chunks = std::max(length.chunks, chunks.chunks.size());
      length.cut = std::max(length.cut, chunks.cut);
      side.read.push_back(std::move(chunks));
    }
    for (std::size_t i = 0; i < text_.size(); ++i) {
      // The encoders' states stand side by side, so the shorter prompt goes on with empty chunks.
      auto& chunks = side.read[i].chunks;
      while (chunks.size() < length.chunks) {
        GF_TRY(auto empty, chunks_of(Prompt(""), *text_[i].tokenizer, max_tokens_, prompts.longer));
        chunks.push_back(std::move(empty.chunks.front()));
      }
    }
    sides.push_back(std::move(side));
    return success();
  };
  GF_TRYV(read_side(prompts.prompt, prompts.prompt_2.value_or(prompts.prompt), prompts.clip_skip, conditioning.length));
  const bool zeros = prompts.guidance && !prompts.negative && index_.two_text_encoders && index_.zeros_for_empty_prompt;
  if (prompts.guidance && !zeros) {
    const auto text = prompts.negative.value_or(Prompt(""));
    GF_TRYV(read_side(text, prompts.negative_2.value_or(text), 0, conditioning.negative_length));
  }
  const auto total = text_.size() * (prompts.guidance ? 2u : 1u);
  std::size_t done = 0;
  const auto advance = [&] { call.progress(GF_BACKEND_STAGE_ENCODING, ++done, total); };
  for (std::size_t i = 0; i < text_.size(); ++i) {
    GF_TRYV(call.check());
    GF_TRY(const auto encoder, use_text(i, call));
    for (auto& side : sides) {
      GF_TRYV(call.check());
      auto encoded = encode_part(*encoder, side.read[i].chunks, side.clip_skip);
      side.hidden.push_back(std::move(encoded.hidden));
      side.pooled = std::move(encoded.pooled);
      advance();
    }
    if (zeros) advance();
  }
  const auto joined = [](const Text& side) {
    return side.hidden.size() == 1 ? side.hidden.front() : at::cat(side.hidden, -1);
  };
  conditioning.positive = joined(sides.front());
  conditioning.pooled = sides.front().pooled;
  if (prompts.guidance) {
    conditioning.negative = zeros ? at::zeros_like(conditioning.positive) : joined(sides.back());
    const auto pooled = zeros ? at::zeros_like(conditioning.pooled) : sides.back().pooled;
    conditioning.pooled = at::cat({pooled, conditioning.pooled}, 0);
  }
  const auto finite = [](const at::Tensor& x) { return !x.defined() || x.isfinite().all().item<bool>(); };
  if (!finite(conditioning.positive) || !finite(conditioning.negative) || !finite(conditioning.pooled)) {
    return Error{
        Status::not_finite, "the text encoders gave values that are not finite; their weights may be damaged", {}};
  }
  if (!unet_config_.text_time) conditioning.pooled = at::Tensor();
  return conditioning;
}

}  // namespace gf::torch
