// The backend's side of the seam: C in and out, libtorch's exceptions end here.
#include "base/json.hpp"
#include "base/utf8.hpp"
#include "torch/allocator.hpp"
#include "torch/host.hpp"
#include "torch/lora.hpp"
#include "torch/model.hpp"
#include "torch/run.hpp"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#define GF_BACKEND_EXPORT __attribute__((visibility("default")))

namespace {

using gf::Error;
using gf::LogLevel;
using gf::Result;
using gf::Status;
using gf::torch::Call;
using gf::torch::Host;

constexpr std::uint32_t cpu_device = 0;

void fill(gf_backend_error* out, Status status, std::string_view message) noexcept {
  if (out == nullptr) return;
  out->status = static_cast<std::int32_t>(status);
  const auto told = gf::first_bytes(message, sizeof out->message - 1);
  std::memcpy(out->message, told.data(), told.size());
  out->message[told.size()] = '\0';
}

/// libtorch's warnings, which would go to stderr, go to the host's log.
class WarningsToLog final : public c10::WarningHandler {
 public:
  explicit WarningsToLog(const Host& host) : host_(host) {}
  void process(const c10::Warning& warning) override { host_.log(LogLevel::warning, warning.msg()); }

 private:
  const Host& host_;
};

/// What every call that computes runs under: this thread's number of threads, no autograd, tensors charged to the
/// ledger, warnings to the log.
class Computing {
 public:
  Computing(const Host& host, std::uint32_t threads)
      : charging_(host, cpu_device, GF_BACKEND_MEMORY_ACTIVATIONS), warnings_(host), guard_(&warnings_) {
    // OpenMP keeps the number per calling thread, and libtorch sets it only in the thread that asks.
    thread_local std::uint32_t set_to = 0;
    if (set_to != threads) {
      at::set_num_threads(static_cast<int>(threads));
      set_to = threads;
    }
  }

 private:
  c10::InferenceMode inference_;
  gf::torch::Charging charging_;
  WarningsToLog warnings_;
  c10::WarningUtils::WarningHandlerGuard guard_;
};

/// Runs `body`, a callable that returns Result<void>; no exception leaves it.
template <class Body>
std::int32_t edge(gf_backend_error* error, Body&& body) noexcept {
  try {
    const Result<void> result = body();
    if (result.has_value()) return 0;
    fill(error, result.error().status, result.error().message);
    return static_cast<std::int32_t>(result.error().status);
  } catch (const std::bad_alloc&) {
    fill(error, Status::out_of_host_memory, "out of host memory");
    return static_cast<std::int32_t>(Status::out_of_host_memory);
  } catch (const c10::OutOfMemoryError& e) {
    fill(error, Status::out_of_device_memory, e.what_without_backtrace());
    return static_cast<std::int32_t>(Status::out_of_device_memory);
  } catch (const c10::Error& e) {
    // The CPU allocator reports a failed malloc as a plain error; its text is all that tells.
    const std::string_view words = e.what_without_backtrace();
    const auto status = words.find("DefaultCPUAllocator: ") != std::string_view::npos ? Status::out_of_host_memory
                                                                                      : Status::torch_exception;
    fill(error, status, words);
    return static_cast<std::int32_t>(status);
  } catch (const std::exception& e) {
    fill(error, Status::torch_exception, e.what());
  } catch (...) {
    fill(error, Status::torch_exception, "an unknown exception was caught");
  }
  return static_cast<std::int32_t>(Status::torch_exception);
}

struct TorchBackend;

TorchBackend& of(gf_backend* self);

}  // namespace

struct gf_backend_model {
  TorchBackend* backend = nullptr;
  std::shared_ptr<const gf::torch::Model> model;

  /// A model with LoRA files at work, and what a lenient plan had to say of them.
  struct Set {
    std::string key;  // Content, scales and strictness.
    std::shared_ptr<const gf::torch::Model> model;
    std::vector<std::string> warnings;
  };
  /// The plain model where no file is wanted. The last sets are kept, so that a job after a job like it pays nothing.
  /// Threads: any; who asks for a set that is being made waits for it.
  Result<Set> with_loras(std::span<const gf_backend_lora> wanted, bool strict, const Call& call);

 private:
  static constexpr std::size_t kept_sets = 2;
  static constexpr std::size_t kept_files = 16;  // Each holds a descriptor.

  Result<gf::torch::LoraFile> open(const std::string& path, const Call& call);

  std::mutex mutex_;                                  // Held while a set is made.
  std::map<std::string, gf::torch::LoraFile> files_;  // By path, while they are unchanged.
  std::list<Set> sets_;                               // The newest first.
};

struct gf_backend_conditioning {
  std::shared_ptr<const gf::torch::Model> model;  // With the LoRA files that the prompts were encoded with.
  gf::torch::Conditioning conditioning;
  std::string warnings;  // A line each.
};

struct gf_backend_run {
  TorchBackend* backend = nullptr;
  std::unique_ptr<gf::torch::Run> run;
};

namespace {

/// One engine's backend. Threads: any.
struct TorchBackend {
  gf_backend table{};  // First, so that the table's address is the object's.
  Host host;
  std::string version;
  std::string build;
  std::mutex models_mutex;
  std::set<const gf_backend_model*> models;  // Loaded. Guarded by models_mutex, which is held for moments alone.
  std::atomic<std::uint64_t> load_us{0};
  std::atomic<std::uint64_t> encode_us{0};
  std::atomic<std::uint64_t> step_us{0};
  std::atomic<std::uint64_t> decode_us{0};
  std::atomic<std::uint64_t> steps{0};

  explicit TorchBackend(const gf_backend_host* given) : host(given) {}

  /// Adds the time of its scope to a counter.
  struct Timed {
    const Host& host;
    std::atomic<std::uint64_t>& sum;
    std::int64_t begin = host.now_us();
    ~Timed() { sum += static_cast<std::uint64_t>(host.now_us() - begin); }
  };
};

}  // namespace

Result<gf::torch::LoraFile> gf_backend_model::open(const std::string& path, const Call& call) {
  if (const auto found = files_.find(path); found != files_.end()) {
    if (found->second.check_unchanged()) return found->second;
    files_.erase(found);
  }
  GF_TRY(auto file, gf::torch::LoraFile::open(backend->host, path, call));
  if (files_.size() >= kept_files) files_.clear();
  files_.emplace(path, file);
  return file;
}

Result<gf_backend_model::Set> gf_backend_model::with_loras(std::span<const gf_backend_lora> wanted, bool strict,
                                                           const Call& call) {
  if (wanted.empty()) return Set{{}, model, {}};
  const std::lock_guard lock(mutex_);
  std::vector<gf::torch::LoraUse> uses;
  std::vector<std::string> parts;
  for (const auto& one : wanted) {
    GF_TRY(auto file, open(one.path, call));
    parts.push_back(fmt::format("{}:{}", file.hash(), one.scale));
    uses.push_back({std::move(file), one.scale});
  }
  std::sort(parts.begin(), parts.end());
  const auto key = fmt::format("{} {}", strict ? "strict" : "lenient", fmt::join(parts, " "));
  const auto found = std::find_if(sets_.begin(), sets_.end(), [&](const Set& set) { return set.key == key; });
  if (found != sets_.end()) {
    sets_.splice(sets_.begin(), sets_, found);
    return sets_.front();
  }
  // Before the new one is made, so that at most as many as are kept are held, but for those that jobs still use.
  while (sets_.size() >= kept_sets) sets_.pop_back();
  std::vector<std::string> warnings;
  GF_TRY(auto made, model->with_loras(std::move(uses), strict, call, warnings));
  sets_.push_front({key, std::move(made), std::move(warnings)});
  return sets_.front();
}

namespace {

TorchBackend& of(gf_backend* self) { return *reinterpret_cast<TorchBackend*>(self); }

/// The request's text number `at`, in the pieces that the host took it apart to; none where it is not set.
std::optional<gf::torch::Prompt> prompt_of(const gf_backend_encode_request& request, std::size_t at, const char* text) {
  if (text == nullptr) return std::nullopt;
  if (request.piece_counts[at] == 0) return gf::torch::Prompt(text);
  gf::torch::Prompt prompt;
  for (std::uint32_t i = 0; i < request.piece_counts[at]; ++i) {
    const auto& piece = request.pieces[at][i];
    prompt.pieces.push_back({piece.text, piece.weight, piece.starts_chunk != 0});
  }
  return prompt;
}

std::int32_t load(gf_backend* self, const gf_backend_load_request* request, const gf_backend_call* raw_call,
                  gf_backend_model** out, gf_backend_error* error) {
  *out = nullptr;
  return edge(error, [&]() -> Result<void> {
    auto& backend = of(self);
    const Call call(raw_call);
    const Computing computing(backend.host, call.threads());
    const TorchBackend::Timed timed{backend.host, backend.load_us};
    if (request->device != cpu_device) {
      return Error{Status::unsupported,
                   fmt::format("device {} does not exist; this backend computes on the CPU, device 0", request->device),
                   {}};
    }
    auto handle = std::make_unique<gf_backend_model>();
    handle->backend = &backend;
    GF_TRY(handle->model, gf::torch::Model::load(backend.host, request->path, request->device, call));
    {
      const std::lock_guard lock(backend.models_mutex);
      backend.models.insert(handle.get());
    }
    *out = handle.release();
    return gf::success();
  });
}

void model_info(const gf_backend_model* handle, gf_backend_model_info* out) {
  const auto& model = *handle->model;
  const auto& unet = model.unet_config();
  const auto factor = static_cast<std::uint32_t>(model.vae_config().factor());
  gf_backend_model_info info{};
  info.struct_size = out->struct_size;
  info.latent_channels = static_cast<std::uint32_t>(unet.in_channels);
  info.vae_factor = factor;
  info.size_multiple_px =
      factor;  // The up path takes any size of the down path back, so only the decoder's factor counts.
  info.default_width_px = static_cast<std::uint32_t>(unet.sample_size) * factor;
  info.default_height_px = info.default_width_px;
  info.text_encoders = static_cast<std::uint32_t>(model.text().size());
  info.max_tokens = static_cast<std::uint32_t>(model.max_tokens());
  info.parameters = model.parameters();
  info.weight_bytes = model.weight_bytes();
  info.file_bytes = model.file_bytes();
  const auto put = [](char(&field)[32], std::string_view text) {
    std::memcpy(field, text.data(), std::min(text.size(), sizeof field - 1));
  };
  put(info.family, model.family());
  switch (model.scheduler().prediction) {
    case gf::torch::Prediction::epsilon:
      put(info.prediction, "epsilon");
      break;
    case gf::torch::Prediction::v_prediction:
      put(info.prediction, "v_prediction");
      break;
    case gf::torch::Prediction::sample:
      put(info.prediction, "sample");
      break;
  }
  std::memcpy(out, &info, std::min<std::size_t>(out->struct_size, sizeof info));
}

void unload(gf_backend_model* handle) {
  if (handle == nullptr) return;
  auto& backend = *handle->backend;
  {
    const std::lock_guard lock(backend.models_mutex);
    backend.models.erase(handle);
  }
  delete handle;
}

std::int32_t encode(gf_backend_model* handle, const gf_backend_encode_request* request, const gf_backend_call* raw_call,
                    gf_backend_conditioning** out, gf_backend_error* error) {
  *out = nullptr;
  return edge(error, [&]() -> Result<void> {
    auto& backend = *handle->backend;
    const Call call(raw_call);
    const Computing computing(backend.host, call.threads());
    const TorchBackend::Timed timed{backend.host, backend.encode_us};
    if (request->long_prompt > GF_BACKEND_LONG_PROMPT_REFUSE) {
      return Error{Status::unsupported, fmt::format("long_prompt is {}", request->long_prompt), {}};
    }
    gf::torch::Prompts prompts;
    prompts.prompt = prompt_of(*request, 0, request->prompt).value_or(gf::torch::Prompt(""));
    prompts.prompt_2 = prompt_of(*request, 1, request->prompt_2);
    prompts.negative = prompt_of(*request, 2, request->negative_prompt);
    prompts.negative_2 = prompt_of(*request, 3, request->negative_prompt_2);
    prompts.longer = static_cast<gf::torch::LongPrompt>(request->long_prompt);
    prompts.guidance = request->guidance != 0;
    prompts.clip_skip = request->clip_skip;
    // So that a shortage is found here, and not when the run begins; a thrifty call reads it only then.
    if (request->from_image != 0 && !call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) {
      GF_TRYV(handle->model->use_encoder(call));
    }
    auto conditioning = std::make_unique<gf_backend_conditioning>();
    GF_TRY(auto set, handle->with_loras({request->loras, request->lora_count}, request->lora_lenient == 0, call));
    conditioning->model = std::move(set.model);
    GF_TRY(conditioning->conditioning, conditioning->model->encode(prompts, call));
    for (const auto& [what, length] : {std::pair("prompt", conditioning->conditioning.length),
                                       std::pair("negative prompt", conditioning->conditioning.negative_length)}) {
      if (length.cut == 0) continue;
      set.warnings.push_back(fmt::format("the {} is longer than {} tokens: the last {} were cut off", what,
                                         handle->model->max_tokens() - 2, length.cut));
    }
    for (const auto& warning : set.warnings) {
      if (backend.host.log_enabled(LogLevel::warning)) backend.host.log(LogLevel::warning, warning);
    }
    conditioning->warnings = fmt::format("{}", fmt::join(set.warnings, "\n"));
    *out = conditioning.release();
    return gf::success();
  });
}

const char* conditioning_warnings(const gf_backend_conditioning* conditioning) {
  return conditioning->warnings.c_str();
}

void conditioning_info(const gf_backend_conditioning* conditioning, gf_backend_conditioning_info* out) {
  const auto& positive = conditioning->conditioning.length;
  const auto& negative = conditioning->conditioning.negative_length;
  gf_backend_conditioning_info info{};
  info.struct_size = out->struct_size;
  info.prompt_tokens = static_cast<std::uint32_t>(positive.tokens);
  info.prompt_chunks = static_cast<std::uint32_t>(positive.chunks);
  info.prompt_cut_tokens = static_cast<std::uint32_t>(positive.cut);
  info.negative_tokens = static_cast<std::uint32_t>(negative.tokens);
  info.negative_chunks = static_cast<std::uint32_t>(negative.chunks);
  info.negative_cut_tokens = static_cast<std::uint32_t>(negative.cut);
  std::memcpy(out, &info, std::min<std::size_t>(out->struct_size, sizeof info));
}

void conditioning_free(gf_backend_conditioning* conditioning) { delete conditioning; }

std::int32_t start(gf_backend_model* handle, const gf_backend_conditioning* conditioning,
                   const gf_backend_run_request* request, const gf_backend_call* raw_call, gf_backend_run** out,
                   gf_backend_error* error) {
  *out = nullptr;
  return edge(error, [&]() -> Result<void> {
    auto& backend = *handle->backend;
    const auto& model = *conditioning->model;
    // The time embeddings of all steps are computed here.
    const Call call(raw_call);
    GF_TRYV(call.check());
    const Computing computing(backend.host, call.threads());
    gf::torch::RunOptions options;
    options.width = request->width_px;
    options.height = request->height_px;
    options.steps = request->steps;
    options.cfg_scale = request->cfg_scale;
    options.guidance_rescale = request->guidance_rescale;
    options.seed = request->seed;
    options.wrap = {(request->wrap & GF_BACKEND_WRAP_X) != 0, (request->wrap & GF_BACKEND_WRAP_Y) != 0};
    options.noise =
        request->noise == GF_BACKEND_NOISE_PHILOX ? gf::torch::NoiseKind::philox : gf::torch::NoiseKind::torch_cpu;
    options.eta = request->eta;
    options.scheduler = model.scheduler();
    if (request->sampler != nullptr) {
      options.sampler = request->sampler;
    } else {
      const auto fallback = gf::torch::default_sampler(model.scheduler());
      options.sampler = fallback.name;
      if (!fallback.exact && backend.host.log_enabled(LogLevel::warning)) {
        backend.host.log(LogLevel::warning, fmt::format("the model's own sampler {} is not built; {} is used instead",
                                                        model.scheduler().class_name, fallback.name));
      }
    }
    if (request->schedule != nullptr) {
      const std::string_view schedule = request->schedule;
      if (schedule == "karras") {
        options.scheduler.sigmas = gf::torch::SigmaSchedule::karras;
      } else if (schedule == "exponential") {
        options.scheduler.sigmas = gf::torch::SigmaSchedule::exponential;
      } else if (schedule == "normal") {
        options.scheduler.sigmas = gf::torch::SigmaSchedule::normal;
      } else if (schedule == "sgm_uniform") {
        // What ComfyUI and webui call so is diffusers' trailing spacing.
        options.scheduler.sigmas = gf::torch::SigmaSchedule::normal;
        options.scheduler.spacing = gf::torch::Spacing::trailing;
      } else {
        return Error{Status::unsupported, fmt::format("schedule {} is not built into this backend", schedule), {}};
      }
      if (!gf::torch::has_schedule(options.sampler, options.scheduler.sigmas)) {
        return Error{Status::unsupported,
                     fmt::format("sampler {} has no schedule {}: it steps along the trained timesteps; take normal or "
                                 "sgm_uniform, or another sampler",
                                 options.sampler, schedule),
                     {}};
      }
    }
    const auto or_size = [](std::uint32_t given, std::uint32_t fallback) -> std::int64_t {
      return given == 0 ? fallback : given;
    };
    options.sizes = {.original_height = or_size(request->original_height_px, request->height_px),
                     .original_width = or_size(request->original_width_px, request->width_px),
                     .crop_top = request->crop_top_px,
                     .crop_left = request->crop_left_px,
                     .target_height = or_size(request->target_height_px, request->height_px),
                     .target_width = or_size(request->target_width_px, request->width_px)};
    if (request->initial_latents != nullptr) {
      const auto factor = model.vae_config().factor();
      const std::vector<std::int64_t> shape = {1, model.unet_config().in_channels, options.height / factor,
                                               options.width / factor};
      const auto values = static_cast<std::uint64_t>(shape[1] * shape[2] * shape[3]);
      if (request->initial_latent_count != values) {
        return Error{Status::invalid_argument,
                     fmt::format("initial_latents have {} values; [{}] takes {}", request->initial_latent_count,
                                 fmt::join(shape, ", "), values),
                     {}};
      }
      options.initial_latents = at::from_blob(const_cast<float*>(request->initial_latents), shape, at::kFloat).clone();
    }
    if (request->image != nullptr) {
      options.image = gf::torch::read_rgba(request->image, options.height, options.width);
      options.strength = request->strength;
      if (request->mask != nullptr) options.mask = gf::torch::read_mask(request->mask, options.height, options.width);
    }
    auto run = std::make_unique<gf_backend_run>();
    run->backend = &backend;
    GF_TRY(run->run, gf::torch::Run::start(model, conditioning->conditioning, std::move(options), call));
    *out = run.release();
    return gf::success();
  });
}

std::int32_t step(gf_backend_run* handle, const gf_backend_call* raw_call, std::uint32_t* remaining,
                  gf_backend_error* error) {
  return edge(error, [&]() -> Result<void> {
    auto& backend = *handle->backend;
    const Call call(raw_call);
    GF_TRYV(call.check());
    const Computing computing(backend.host, call.threads());
    {
      const TorchBackend::Timed timed{backend.host, backend.step_us};
      GF_TRYV(handle->run->step(call));
    }
    ++backend.steps;
    *remaining = static_cast<std::uint32_t>(handle->run->steps() - handle->run->done());
    call.progress(GF_BACKEND_STAGE_SAMPLING, handle->run->done(), handle->run->steps());
    return gf::success();
  });
}

void rest(gf_backend_run* handle, std::uint32_t keep_next) { handle->run->rest(keep_next != 0); }

std::int32_t decode(gf_backend_run* handle, const gf_backend_call* raw_call, std::uint8_t* pixels, std::uint64_t bytes,
                    gf_backend_error* error) {
  return edge(error, [&]() -> Result<void> {
    auto& backend = *handle->backend;
    const Call call(raw_call);
    GF_TRYV(call.check());
    const Computing computing(backend.host, call.threads());
    const TorchBackend::Timed timed{backend.host, backend.decode_us};
    const auto needed = static_cast<std::uint64_t>(handle->run->width() * handle->run->height() * 4);
    if (bytes != needed)
      return Error{Status::internal, fmt::format("the buffer has {} bytes, the picture {}", bytes, needed), {}};
    const bool tiled = call.is_thrifty(GF_BACKEND_THRIFT_TILES);  // Then progress is told in tiles.
    if (!tiled) call.progress(GF_BACKEND_STAGE_DECODING, 0, 1);
    GF_TRY(const auto image, handle->run->decode(call));
    gf::torch::write_rgba(image, {pixels, bytes});
    if (!tiled) call.progress(GF_BACKEND_STAGE_DECODING, 1, 1);
    return gf::success();
  });
}

std::int32_t latents(const gf_backend_run* handle, float* values, std::uint64_t count, gf_backend_error* error) {
  return edge(error, [&]() -> Result<void> {
    const c10::InferenceMode inference;
    const gf::torch::Charging charging(handle->backend->host, cpu_device, GF_BACKEND_MEMORY_ACTIVATIONS);
    const auto tensor = handle->run->latents().contiguous();
    if (count != static_cast<std::uint64_t>(tensor.numel())) {
      return Error{
          Status::invalid_argument, fmt::format("the buffer has {} values, the latents {}", count, tensor.numel()), {}};
    }
    std::memcpy(values, tensor.data_ptr<float>(), count * sizeof(float));
    return gf::success();
  });
}

void finish(gf_backend_run* run) { delete run; }

void statistics(gf_backend* self, gf_backend_statistics* out) {
  auto& backend = of(self);
  gf_backend_statistics now{};
  now.struct_size = out->struct_size;
  {
    const std::lock_guard lock(backend.models_mutex);
    now.models = static_cast<std::uint32_t>(backend.models.size());
    for (const auto* model : backend.models) now.weight_bytes += model->model->weight_bytes();
  }
  now.load_us = backend.load_us;
  now.encode_us = backend.encode_us;
  now.step_us = backend.step_us;
  now.decode_us = backend.decode_us;
  now.steps = backend.steps;
  std::memcpy(out, &now, std::min<std::size_t>(out->struct_size, sizeof now));
}

const char* build_json(gf_backend* self) { return of(self).build.c_str(); }

void destroy(gf_backend* self) { delete &of(self); }

}  // namespace

extern "C" {

GF_BACKEND_EXPORT extern const std::uint32_t gf_backend_abi_version;
const std::uint32_t gf_backend_abi_version = GF_BACKEND_ABI_VERSION;

GF_BACKEND_EXPORT std::int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** out,
                                                gf_backend_error* error) {
  *out = nullptr;
  return edge(error, [&]() -> Result<void> {
    if (host == nullptr || host->abi_version != GF_BACKEND_ABI_VERSION || host->struct_size < sizeof(gf_backend_host)) {
      return Error{Status::backend_version_clash,
                   fmt::format("the library speaks version {} of the seam, this backend version {}",
                               host == nullptr ? 0 : host->abi_version, GF_BACKEND_ABI_VERSION),
                   {}};
    }
    if (host->computes_with_others == 0) gf::torch::install_ledger_allocator();
    auto backend = std::make_unique<TorchBackend>(host);
    backend->version = fmt::format("libtorch {}", TORCH_VERSION);
    gf::Json build = {{"libtorch", TORCH_VERSION},          {"cpu_capability", at::get_cpu_capability()},
                      {"openmp", at::get_openmp_version()}, {"mkldnn", at::get_mkldnn_version()},
                      {"mkl", at::get_mkl_version()},       {"ledger", gf::torch::ledger_allocator_is_installed()}};
    backend->build = gf::to_text(build);
    auto& table = backend->table;
    table.struct_size = sizeof table;
    table.abi_version = GF_BACKEND_ABI_VERSION;
    table.name = "torch";
    table.version = backend->version.c_str();
    table.load = load;
    table.model_info = model_info;
    table.unload = unload;
    table.encode = encode;
    table.conditioning_warnings = conditioning_warnings;
    table.conditioning_info = conditioning_info;
    table.conditioning_free = conditioning_free;
    table.start = start;
    table.step = step;
    table.rest = rest;
    table.decode = decode;
    table.latents = latents;
    table.finish = finish;
    table.statistics = statistics;
    table.build_json = build_json;
    table.destroy = destroy;
    *out = &backend.release()->table;
    return gf::success();
  });
}

}  // extern "C"
