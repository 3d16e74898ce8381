// A backend without a neural network, on backend_abi.h alone: it does in microseconds what a real one does in seconds,
// and goes wrong wherever the file fake.json in a model's folder tells it to. It keeps nothing between models.
//
//   load_us, encode_us, step_us, decode_us   how long each call takes; the cancel flag is watched meanwhile
//   load_parts                               progress reports while loading; 4
//   fail_stage                               "load", "encode", "start", "step", "decode" or "latents": fails with
//   fail_status, fail_message                these; 901 and a text of its own
//   fail_at_step                             fails in this step, from 1
//   fail_loads                               only so many loads of the folder fail; all of them
//   throw_stage, throw                       throws "bad_alloc", "runtime_error" or "int" instead
//   fail_share, fail_statuses                each call fails with this probability, by one of these; never, [901]
//   forget_stage                             succeeds without giving what it should
//   give_up_stage                            answers 201 (cancelled) unasked
//   stuck                                    true: the steps that are left never get fewer
//   not_finite                               true: decode answers 407
//   hold_stage                               waits there until the folder has a file "release"
//   deaf                                     true: the cancel flag is not looked at
//   weight_bytes, activation_bytes           taken from the ledger by a model and by a run
//   vae_factor, latent_channels              2 and 4, as in the model that ships
//   log                                      true: writes a line for each call
//
// Each load appends a line to the file "loads" in the folder, where there is one.
#include "pipeline/backend_abi.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

struct gf_backend_model {
  struct FakeBackend* backend = nullptr;
  std::string folder;
  nlohmann::json settings;
  std::uint64_t weight_bytes = 0;

  template <class T>
  T setting(const char* key, T standard) const {
    return settings.value(key, standard);
  }
  bool is_stage(const char* key, const char* stage) const { return setting<std::string>(key, "") == stage; }
};

struct gf_backend_conditioning {
  std::uint32_t prompt_bytes = 0;  // Of the prompt: what it counts as tokens.
  std::uint64_t hash = 0;
  std::string warnings;  // A line each.
};

struct gf_backend_run {
  gf_backend_model* model = nullptr;
  std::uint64_t hash = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t done = 0;
  std::uint32_t steps = 0;
  std::uint64_t activation_bytes = 0;
  std::vector<float> latents;
};

struct FakeBackend {
  gf_backend table{};
  const gf_backend_host* host = nullptr;
  std::atomic<std::uint32_t> models{0};
  std::atomic<std::uint64_t> weight_bytes{0};
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> draws{0};
};

namespace {

constexpr std::int32_t cancelled = 201;

/// FNV-1a, 64 bits: pixels only have to differ where requests do.
std::uint64_t mixed(std::uint64_t hash, const void* bytes, std::size_t count) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (std::size_t index = 0; index < count; ++index) hash = (hash ^ at[index]) * 0x100000001b3u;
  return hash;
}

std::uint64_t mixed(std::uint64_t hash, const char* text) {
  const std::uint64_t there = text != nullptr ? 1 : 0;
  hash = mixed(hash, &there, sizeof there);
  return text == nullptr ? hash : mixed(hash, text, std::strlen(text) + 1);
}

/// SplitMix64's step (Steele, Lea and Flood 2014): the next of a row of well-spread numbers.
std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::int32_t fail(gf_backend_error* error, std::int32_t status, const std::string& message) {
  if (error != nullptr) {
    error->status = status;
    std::snprintf(error->message, sizeof error->message, "%s", message.c_str());
  }
  return status;
}

FakeBackend& of(gf_backend* self) { return *reinterpret_cast<FakeBackend*>(self); }

bool is_cancelled(const gf_backend_model& model, const gf_backend_call* call) {
  return call != nullptr && !model.setting("deaf", false) && call->cancelled(call->context) != 0;
}

/// What every call does first: take its time, hold, and go wrong if it is told to.
std::int32_t begin(gf_backend_model& model, const char* stage, std::int64_t us, const gf_backend_call* call,
                   gf_backend_error* error) {
  auto& backend = *model.backend;
  if (model.setting("log", false)) {
    backend.host->log(backend.host->context, 3, "fake", stage);
  }
  using Steady = std::chrono::steady_clock;
  const auto until = Steady::now() + std::chrono::microseconds(us);
  const auto release = model.folder + "/release";
  const bool holds = model.is_stage("hold_stage", stage);
  // Short naps, so that a cancellation is seen soon whatever the time that was asked for.
  for (;;) {
    if (is_cancelled(model, call)) return fail(error, cancelled, "the fake backend was cancelled");
    const bool held = holds && access(release.c_str(), F_OK) != 0;
    const auto left = until - Steady::now();
    if (!held && left <= Steady::duration::zero()) break;
    const Steady::duration nap = std::chrono::microseconds(500);
    std::this_thread::sleep_for(held ? nap : std::min(left, nap));
  }
  if (model.is_stage("throw_stage", stage)) {
    const auto what = model.setting<std::string>("throw", "runtime_error");
    if (what == "bad_alloc") throw std::bad_alloc();
    if (what == "int") throw 42;
    throw std::runtime_error("the fake backend throws");
  }
  if (const auto share = model.setting("fail_share", 0.0); share > 0) {
    std::uint64_t state = backend.draws.fetch_add(1) * 0x2545F4914F6CDD1Du;
    if (static_cast<double>(next(state) >> 11) * 0x1p-53 < share) {
      const auto statuses = model.setting("fail_statuses", std::vector<std::int32_t>{901});
      return fail(error, statuses[next(state) % statuses.size()],
                  std::string("the fake backend fails by chance in ") + stage);
    }
  }
  if (model.is_stage("give_up_stage", stage)) return fail(error, cancelled, "the fake backend gives up");
  if (model.is_stage("fail_stage", stage)) {
    return fail(error, model.setting("fail_status", 901),
                model.setting<std::string>("fail_message", std::string("the fake backend fails in ") + stage));
  }
  return 0;
}

/// The text of a file of the folder, through the host; nullopt where there is none.
std::optional<std::string> text_of(const gf_backend_host& host, const std::string& path, gf_backend_error* error) {
  gf_backend_file* file = nullptr;
  gf_backend_file_stamp stamp{};
  if (host.file_open(host.context, path.c_str(), &file, &stamp, error) != 0) return std::nullopt;
  std::string text(stamp.bytes, '\0');
  const bool read = host.file_read(host.context, file, 0, text.data(), text.size(), error) == 0 &&
                    host.file_check(host.context, file, error) == 0;
  host.file_close(host.context, file);
  if (!read) return std::nullopt;
  return text;
}

void release_weights(gf_backend_model& model) {
  if (model.weight_bytes == 0) return;
  const auto& host = *model.backend->host;
  host.release(host.context, 0, GF_BACKEND_MEMORY_WEIGHTS, model.weight_bytes, 1);
}

std::int32_t load(gf_backend* self, const gf_backend_load_request* request, const gf_backend_call* call,
                  gf_backend_model** out, gf_backend_error* error) {
  *out = nullptr;
  auto& backend = of(self);
  auto model = std::make_unique<gf_backend_model>();
  model->backend = &backend;
  model->folder = request->path;
  const auto settings = text_of(*backend.host, model->folder + "/fake.json", error);
  if (!settings) return error != nullptr && error->status != 0 ? error->status : 501;
  model->settings = nlohmann::json::parse(*settings, nullptr, false);
  if (!model->settings.is_object()) return fail(error, 401, model->folder + "/fake.json is not a JSON object");

  const auto loads = model->folder + "/loads";
  std::uint64_t earlier = 0;
  if (std::ifstream lines(loads); lines) {
    for (std::string line; std::getline(lines, line);) ++earlier;
    std::ofstream(loads, std::ios::app) << "load\n";
  }
  const auto failing = model->setting<std::uint64_t>("fail_loads", UINT64_MAX);
  if (earlier >= failing) model->settings.erase("fail_stage");

  const std::uint64_t parts = model->setting<std::uint64_t>("load_parts", 4);
  for (std::uint64_t part = 0; part < parts; ++part) {
    if (is_cancelled(*model, call)) return fail(error, cancelled, "the fake backend was cancelled");
    if (call->progress != nullptr) call->progress(call->context, GF_BACKEND_STAGE_LOADING, part * 4096, parts * 4096);
  }
  if (const auto status = begin(*model, "load", model->setting<std::int64_t>("load_us", 0), call, error)) return status;
  if (const auto bytes = model->setting<std::uint64_t>("weight_bytes", 0); bytes != 0) {
    const auto& host = *backend.host;
    if (const auto status = host.reserve(host.context, 0, GF_BACKEND_MEMORY_WEIGHTS, bytes, error)) return status;
    host.commit(host.context, 0, GF_BACKEND_MEMORY_WEIGHTS, bytes);
    model->weight_bytes = bytes;
  }
  if (model->is_stage("forget_stage", "load")) {
    release_weights(*model);
    return 0;
  }
  ++backend.models;
  backend.weight_bytes += model->weight_bytes;
  *out = model.release();
  return 0;
}

void model_info(const gf_backend_model* model, gf_backend_model_info* out) {
  gf_backend_model_info info{};
  info.struct_size = out->struct_size;
  info.latent_channels = model->setting<std::uint32_t>("latent_channels", 4);
  info.vae_factor = model->setting<std::uint32_t>("vae_factor", 2);
  info.size_multiple_px = info.vae_factor;
  info.default_width_px = 32;
  info.default_height_px = 32;
  info.text_encoders = 2;
  info.max_tokens = 77;
  info.parameters = 1;
  info.weight_bytes = model->weight_bytes;
  info.file_bytes = model->weight_bytes;
  std::snprintf(info.family, sizeof info.family, "fake");
  std::snprintf(info.prediction, sizeof info.prediction, "epsilon");
  std::memcpy(out, &info, std::min<std::size_t>(out->struct_size, sizeof info));
}

void unload(gf_backend_model* model) {
  release_weights(*model);
  --model->backend->models;
  model->backend->weight_bytes -= model->weight_bytes;
  delete model;
}

std::int32_t encode(gf_backend_model* model, const gf_backend_encode_request* request, const gf_backend_call* call,
                    gf_backend_conditioning** out, gf_backend_error* error) {
  *out = nullptr;
  if (const auto status = begin(*model, "encode", model->setting<std::int64_t>("encode_us", 0), call, error)) {
    return status;
  }
  if (model->is_stage("forget_stage", "encode")) return 0;
  auto conditioning = std::make_unique<gf_backend_conditioning>();
  auto hash = mixed(0xcbf29ce484222325u, request->prompt);
  hash = mixed(hash, request->prompt_2 == nullptr ? request->prompt : request->prompt_2);
  if (request->guidance != 0) {
    hash = mixed(hash, request->negative_prompt);
    hash = mixed(hash, request->negative_prompt_2 == nullptr ? request->negative_prompt : request->negative_prompt_2);
  }
  hash = mixed(hash, &request->clip_skip, sizeof request->clip_skip);
  hash = mixed(hash, &request->long_prompt, sizeof request->long_prompt);
  // A whole prompt of weight 1 is the same in one piece and as a text.
  for (std::uint32_t of = 0; of < 4; ++of) {
    const auto count = request->piece_counts[of];
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto& piece = request->pieces[of][i];
      if (count == 1 && piece.weight == 1 && piece.starts_chunk == 0) continue;
      hash = mixed(hash, piece.text);
      hash = mixed(hash, &piece.weight, sizeof piece.weight);
      hash = mixed(hash, &piece.starts_chunk, sizeof piece.starts_chunk);
    }
  }
  for (std::uint32_t i = 0; i < request->lora_count; ++i) {
    hash = mixed(hash, request->loras[i].path);
    hash = mixed(hash, &request->loras[i].scale, sizeof request->loras[i].scale);
  }
  conditioning->hash = hash;
  conditioning->prompt_bytes =
      static_cast<std::uint32_t>(std::strlen(request->prompt == nullptr ? "" : request->prompt));
  conditioning->warnings = model->setting<std::string>("warnings", "");
  if (call->progress != nullptr) call->progress(call->context, GF_BACKEND_STAGE_ENCODING, 2, 2);
  *out = conditioning.release();
  return 0;
}

const char* conditioning_warnings(const gf_backend_conditioning* conditioning) {
  return conditioning->warnings.c_str();
}

void conditioning_info(const gf_backend_conditioning* conditioning, gf_backend_conditioning_info* out) {
  gf_backend_conditioning_info info{};
  info.struct_size = out->struct_size;
  info.prompt_tokens = conditioning->prompt_bytes;
  info.prompt_chunks = 1 + conditioning->prompt_bytes / 75;
  std::memcpy(out, &info, std::min<std::size_t>(out->struct_size, sizeof info));
}

void conditioning_free(gf_backend_conditioning* conditioning) { delete conditioning; }

std::int32_t start(gf_backend_model* model, const gf_backend_conditioning* conditioning,
                   const gf_backend_run_request* request, const gf_backend_call*, gf_backend_run** out,
                   gf_backend_error* error) {
  *out = nullptr;
  if (const auto status = begin(*model, "start", 0, nullptr, error)) return status;
  if (model->is_stage("forget_stage", "start")) return 0;
  auto run = std::make_unique<gf_backend_run>();
  run->model = model;
  run->width = request->width_px;
  run->height = request->height_px;
  run->steps = request->steps;
  auto hash = conditioning->hash;
  for (const std::uint64_t number : {request->seed, std::uint64_t{request->width_px}, std::uint64_t{request->height_px},
                                     std::uint64_t{request->steps}}) {
    hash = mixed(hash, &number, sizeof number);
  }
  hash = mixed(hash, &request->cfg_scale, sizeof request->cfg_scale);
  hash = mixed(hash, &request->guidance_rescale, sizeof request->guidance_rescale);
  hash = mixed(hash, request->sampler);
  hash = mixed(hash, request->schedule);
  if (request->initial_latents != nullptr) {
    hash = mixed(hash, request->initial_latents, request->initial_latent_count * sizeof(float));
  }
  hash = mixed(hash, &request->eta, sizeof request->eta);
  hash = mixed(hash, &request->noise, sizeof request->noise);
  hash = mixed(hash, &request->wrap, sizeof request->wrap);
  const auto pixels = std::size_t{run->width} * run->height;
  if (request->image != nullptr) {
    hash = mixed(hash, request->image, 4 * pixels);
    hash = mixed(hash, &request->strength, sizeof request->strength);
  }
  if (request->mask != nullptr) hash = mixed(hash, request->mask, pixels);
  run->hash = hash;
  const auto factor = model->setting<std::uint32_t>("vae_factor", 2);
  run->latents.resize(std::size_t{model->setting<std::uint32_t>("latent_channels", 4)} * (run->width / factor) *
                      (run->height / factor));
  auto state = hash;
  for (auto& value : run->latents) value = static_cast<float>(next(state) >> 40) / static_cast<float>(1 << 23) - 1;
  if (const auto bytes = model->setting<std::uint64_t>("activation_bytes", 0); bytes != 0) {
    const auto& host = *model->backend->host;
    if (const auto status = host.reserve(host.context, 0, GF_BACKEND_MEMORY_ACTIVATIONS, bytes, error)) return status;
    host.commit(host.context, 0, GF_BACKEND_MEMORY_ACTIVATIONS, bytes);
    run->activation_bytes = bytes;
  }
  *out = run.release();
  return 0;
}

std::int32_t step(gf_backend_run* run, const gf_backend_call* call, std::uint32_t* remaining, gf_backend_error* error) {
  auto& model = *run->model;
  if (run->done == run->steps) return fail(error, 104, "the run has no step left");
  if (const auto status = begin(model, "step", model.setting<std::int64_t>("step_us", 0), call, error)) return status;
  if (model.setting<std::uint32_t>("fail_at_step", 0) == run->done + 1) {
    return fail(
        error, model.setting("fail_status", 901),
        model.setting<std::string>("fail_message", "the fake backend fails in step " + std::to_string(run->done + 1)));
  }
  ++run->done;
  ++model.backend->steps;
  *remaining = model.setting("stuck", false) ? run->steps : run->steps - run->done;
  return 0;
}

std::int32_t decode(gf_backend_run* run, const gf_backend_call* call, std::uint8_t* pixels, std::uint64_t bytes,
                    gf_backend_error* error) {
  auto& model = *run->model;
  if (const auto status = begin(model, "decode", model.setting<std::int64_t>("decode_us", 0), call, error)) {
    return status;
  }
  if (model.setting("not_finite", false)) return fail(error, 407, "the fake backend's pixels are not finite");
  if (bytes != std::uint64_t{run->width} * run->height * 4) return fail(error, 101, "the buffer is of another size");
  auto state = run->hash;
  for (std::uint64_t at = 0; at < bytes; at += 4) {
    const auto bits = next(state);
    pixels[at] = static_cast<std::uint8_t>(bits);
    pixels[at + 1] = static_cast<std::uint8_t>(bits >> 8);
    pixels[at + 2] = static_cast<std::uint8_t>(bits >> 16);
    pixels[at + 3] = 255;
  }
  if (call->progress != nullptr) call->progress(call->context, GF_BACKEND_STAGE_DECODING, 1, 1);
  return 0;
}

std::int32_t latents(const gf_backend_run* run, float* values, std::uint64_t count, gf_backend_error* error) {
  if (const auto status = begin(*run->model, "latents", 0, nullptr, error)) return status;
  if (count != run->latents.size()) return fail(error, 101, "the buffer is of another size");
  std::copy(run->latents.begin(), run->latents.end(), values);
  return 0;
}

void rest(gf_backend_run*, std::uint32_t) {}

void finish(gf_backend_run* run) {
  if (run == nullptr) return;
  if (run->activation_bytes != 0) {
    const auto& host = *run->model->backend->host;
    host.release(host.context, 0, GF_BACKEND_MEMORY_ACTIVATIONS, run->activation_bytes, 1);
  }
  delete run;
}

void statistics(gf_backend* self, gf_backend_statistics* out) {
  auto& backend = of(self);
  gf_backend_statistics numbers{};
  numbers.struct_size = out->struct_size;
  numbers.models = backend.models;
  numbers.weight_bytes = backend.weight_bytes;
  numbers.steps = backend.steps;
  std::memcpy(out, &numbers, std::min<std::size_t>(out->struct_size, sizeof numbers));
}

const char* build_json(gf_backend*) { return R"({"fake": true})"; }

void destroy(gf_backend* self) { delete &of(self); }

}  // namespace

extern "C" {

__attribute__((visibility("default"))) extern const std::uint32_t gf_backend_abi_version;
const std::uint32_t gf_backend_abi_version = GF_BACKEND_ABI_VERSION;

__attribute__((visibility("default"))) std::int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** out,
                                                                     gf_backend_error* error) {
  *out = nullptr;
  if (host->abi_version != GF_BACKEND_ABI_VERSION || host->struct_size < sizeof(gf_backend_host)) {
    return fail(error, 305, "the host's table is of another version");
  }
  auto backend = std::make_unique<FakeBackend>();
  backend->host = host;
  auto& table = backend->table;
  table.struct_size = sizeof table;
  table.abi_version = GF_BACKEND_ABI_VERSION;
  table.name = "fake";
  table.version = "fake 1";
  table.load = load;
  table.model_info = model_info;
  table.unload = unload;
  table.encode = encode;
  table.conditioning_warnings = conditioning_warnings;
  table.conditioning_info = conditioning_info;
  table.conditioning_free = conditioning_free;
  table.start = start;
  table.step = step;
  table.decode = decode;
  table.latents = latents;
  table.rest = rest;
  table.finish = finish;
  table.statistics = statistics;
  table.build_json = build_json;
  table.destroy = destroy;
  *out = &backend.release()->table;
  return 0;
}

}  // extern "C"
