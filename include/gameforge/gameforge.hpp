/**
 * gameforge.hpp: gameforge.h for C++ hosts, C++11 or later. Header only, over the C ABI alone: objects that close
 * themselves, texts as std::string, and failures as exceptions of the type gameforge::Error, which are thrown in the
 * host's own code and never cross the ABI.
 *
 *     gameforge::Options options;
 *     options.model_folders = {"models"};
 *     gameforge::Engine engine(options);
 *
 *     gameforge::Request request;
 *     request.model = "gameforge-tiles";
 *     request.prompt = "a red potion";
 *     const gameforge::JobId job = engine.submit(request);
 *     if (engine.wait(job, std::chrono::seconds(60))) engine.image(job, 0).write_png("potion.png");
 *
 * What a function does, which threads may call it and how long it blocks stands at its C namesake in gameforge.h.
 */
#ifndef GAMEFORGE_GAMEFORGE_HPP
#define GAMEFORGE_GAMEFORGE_HPP

#include "gameforge/gameforge.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace gameforge {

/** A call that failed: what() is the message. */
class Error : public std::runtime_error {
 public:
  Error(gf_status status, const std::string& message, std::string hint, bool retryable)
      : std::runtime_error(message), status_(status), hint_(std::move(hint)), retryable_(retryable) {}

  gf_status status() const noexcept { return status_; }
  /** "queue_full". */
  const char* name() const noexcept { return gf_status_name(static_cast<std::uint32_t>(status_)); }
  /** What to do, in English. */
  const std::string& hint() const noexcept { return hint_; }
  bool retryable() const noexcept { return retryable_; }

 private:
  gf_status status_;
  std::string hint_;
  bool retryable_;
};

namespace detail {

/** Throws Error of a status and a message. */
[[noreturn]] inline void raise(gf_status status, const char* message) {
  gf_status_description description = GF_STATUS_DESCRIPTION_INIT;
  const bool known = gf_status_describe(static_cast<std::uint32_t>(status), &description) == GF_OK;
  throw Error(status, message, known ? description.hint : "", known && description.retryable != 0);
}

/** Throws the thread's last error unless a call succeeded. */
inline void check(gf_status status) {
  // Copied first: describing the status is a call of its own.
  if (status != GF_OK) raise(status, std::string(gf_last_error_message()).c_str());
}

/** Calls `call(buffer, size)` until the whole of a text that may grow in between was given. */
template <class Call>
std::string text(Call call) {
  std::string text;
  std::uint64_t size = 0;
  check(call(static_cast<char*>(nullptr), &size));
  for (;;) {
    text.resize(static_cast<std::size_t>(size));
    const gf_status status = call(&text[0], &size);
    if (status == GF_ERR_BUFFER_TOO_SMALL) continue;
    check(status);
    text.resize(size > 0 ? static_cast<std::size_t>(size) - 1 : 0);  // Without the NUL.
    return text;
  }
}

/** Appends a code point as UTF-8. */
inline void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/**
 * The text of a member of the outermost object, or empty. For the library's own JSON alone, in which only control
 * characters are escaped as \u.
 */
inline std::string json_member(const std::string& json, const std::string& name) {
  int depth = 0;
  std::string last;  // The last text at depth 1, which is a name when a colon follows.
  bool wanted = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth == 1 && c == ':') wanted = last == name;
    if (depth == 1 && c == ',') wanted = false;
    if (c != '"') continue;
    std::string text;
    for (++i; i < json.size() && json[i] != '"'; ++i) {
      if (json[i] != '\\' || i + 1 >= json.size()) {
        text += json[i];
        continue;
      }
      const char escaped = json[++i];
      if (escaped == 'u' && i + 4 < json.size()) {
        unsigned code = 0;
        for (int digit = 0; digit < 4; ++digit) {
          const char hex = json[++i];
          code = code * 16 + static_cast<unsigned>(hex <= '9' ? hex - '0' : (hex | 0x20) - 'a' + 10);
        }
        append_utf8(text, code);
      } else {
        const char* const from = "nrtbf";
        const char* const to = "\n\r\t\b\f";
        const char* place = from;
        while (*place != '\0' && *place != escaped) ++place;
        text += *place != '\0' ? to[place - from] : escaped;
      }
    }
    if (depth != 1) continue;
    if (wanted) return text;
    last = text;
  }
  return std::string();
}

inline std::int64_t microseconds(std::chrono::microseconds time) { return static_cast<std::int64_t>(time.count()); }

}  // namespace detail

/** A text that may be missing, which for some fields is not the same as an empty one. */
class Text {
 public:
  Text() = default;
  Text(const char* text) : set_(text != nullptr), text_(text != nullptr ? text : "") {}
  Text(std::string text) : set_(true), text_(std::move(text)) {}

  bool is_set() const noexcept { return set_; }
  const std::string& value() const noexcept { return text_; }
  /** NULL where it is missing; lives as long as this. */
  const char* c_str() const noexcept { return set_ ? text_.c_str() : nullptr; }

 private:
  bool set_ = false;
  std::string text_;
};

/** The version of the library that runs. */
inline std::string version() { return gf_version_text(); }
inline std::string version_json() {
  return detail::text([](char* buffer, std::uint64_t* size) { return gf_version_json(buffer, size); });
}

/** A job's id: 32 hex digits as text. */
struct JobId {
  gf_job_id id = {0, 0};

  std::string text() const {
    const gf_job_id* job = &id;
    return detail::text([job](char* buffer, std::uint64_t* size) { return gf_job_id_text(job, buffer, size); });
  }
  static JobId parse(const std::string& text) {
    JobId job;
    detail::check(gf_job_id_parse(text.c_str(), &job.id));
    return job;
  }
  friend bool operator==(const JobId& a, const JobId& b) { return a.id.high == b.id.high && a.id.low == b.id.low; }
  friend bool operator!=(const JobId& a, const JobId& b) { return !(a == b); }
  friend bool operator<(const JobId& a, const JobId& b) {
    return a.id.high != b.id.high ? a.id.high < b.id.high : a.id.low < b.id.low;
  }
};

/** An image: RGBA8, immutable. A copy is another share of the same pixels. */
class Image {
 public:
  /** No image; only to be assigned to. */
  Image() = default;
  /** Takes over a handle. */
  explicit Image(gf_image* handle) noexcept : handle_(handle) {}
  Image(const Image& other) {
    if (other.handle_ != nullptr) detail::check(gf_image_share(other.handle_, &handle_));
  }
  Image(Image&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Image& operator=(Image other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Image() {
    if (handle_ != nullptr) gf_image_release(handle_);
  }

  /** From the host's pixels, which are copied; stride_bytes 0 stands for 4 * width_px. */
  static Image create(std::uint32_t width_px, std::uint32_t height_px, const std::uint8_t* pixels,
                      std::uint32_t stride_bytes = 0) {
    gf_image* made = nullptr;
    detail::check(gf_image_create(width_px, height_px, stride_bytes != 0 ? stride_bytes : 4 * width_px, pixels, &made));
    return Image(made);
  }

  /** Reads a PNG file. */
  static Image read_png(const std::string& path) {
    gf_image* read = nullptr;
    detail::check(gf_image_read_png(path.c_str(), &read));
    return Image(read);
  }
  static Image decode_png(const std::uint8_t* bytes, std::uint64_t size) {
    gf_image* decoded = nullptr;
    detail::check(gf_image_decode_png(bytes, size, &decoded));
    return Image(decoded);
  }

  /** Row by row, each cell as large as the largest image; background is 0xRRGGBBAA. */
  static Image grid(const std::vector<Image>& images, std::uint32_t columns, std::uint32_t gap_px = 0,
                    std::uint32_t background = 0) {
    std::vector<gf_image*> handles;
    for (const Image& image : images) handles.push_back(image.handle_);
    gf_image* made = nullptr;
    detail::check(
        gf_image_grid(handles.data(), static_cast<std::uint32_t>(handles.size()), columns, gap_px, background, &made));
    return Image(made);
  }

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  gf_image* handle() const noexcept { return handle_; }

  gf_image_info info() const {
    gf_image_info info = GF_IMAGE_INFO_INIT;
    detail::check(gf_image_describe(handle_, &info));
    return info;
  }
  std::uint32_t width_px() const { return info().width_px; }
  std::uint32_t height_px() const { return info().height_px; }

  /** info().byte_count bytes, in place; valid as long as a share of the image is. */
  const std::uint8_t* pixels() const {
    const std::uint8_t* pixels = nullptr;
    detail::check(gf_image_pixels(handle_, &pixels));
    return pixels;
  }

  Image upscale(std::uint32_t factor) const {
    gf_image* made = nullptr;
    detail::check(gf_image_upscale(handle_, factor, &made));
    return Image(made);
  }

  /** NULL: the commonest colour of the border, within 16. */
  Image key_background(const gf_key_options* options = nullptr) const {
    gf_image* made = nullptr;
    detail::check(gf_image_key_background(handle_, options, &made));
    return Image(made);
  }

  /** How well it joins itself where it is tiled. */
  gf_seam_score seam_score() const {
    gf_seam_score score = GF_SEAM_SCORE_INIT;
    detail::check(gf_image_seam_score(handle_, &score));
    return score;
  }

  /** Cut out of its flat background. key: receives the background's colour, or GF_NO_KEY. */
  Image cut_sprite(const gf_sprite_options* options = nullptr, std::uint32_t* key = nullptr) const {
    gf_image* made = nullptr;
    detail::check(gf_image_cut_sprite(handle_, options, &made, key));
    return Image(made);
  }

  Image pixelate(const gf_pixelate_options& options) const {
    gf_image* made = nullptr;
    detail::check(gf_image_pixelate(handle_, &options, &made));
    return Image(made);
  }

  Image normal_map(const gf_normal_map_options* options = nullptr) const {
    gf_image* made = nullptr;
    detail::check(gf_image_normal_map(handle_, options, &made));
    return Image(made);
  }

  /** A sprite sheet. frames: receives where each image lies. */
  static Image pack(const std::vector<Image>& images, const gf_sheet_options* options = nullptr,
                    std::vector<gf_sheet_frame>* frames = nullptr) {
    std::vector<gf_image*> handles;
    for (const Image& image : images) handles.push_back(image.handle_);
    std::vector<gf_sheet_frame> places(images.size());
    gf_image* made = nullptr;
    detail::check(
        gf_image_pack(handles.data(), static_cast<std::uint32_t>(handles.size()), options, &made, places.data()));
    if (frames != nullptr) frames->swap(places);
    return Image(made);
  }

  /** At most `colours` that the images share, 0xRRGGBB. */
  static std::vector<std::uint32_t> palette(const std::vector<Image>& images, std::uint32_t colours) {
    std::vector<gf_image*> handles;
    for (const Image& image : images) handles.push_back(image.handle_);
    std::vector<std::uint32_t> found(256);
    std::uint64_t count = found.size();
    detail::check(
        gf_palette_find(handles.data(), static_cast<std::uint32_t>(handles.size()), colours, found.data(), &count));
    found.resize(static_cast<std::size_t>(count));
    return found;
  }

  /** parameters: see Engine::parameters_text. compression: 1 to 9; 0 is the default. */
  std::vector<std::uint8_t> png(const Text& parameters = Text(), std::uint32_t compression = 0) const {
    const gf_png_options options = png_options(parameters, compression);
    std::vector<std::uint8_t> bytes;
    std::uint64_t size = 0;
    detail::check(gf_image_encode_png(handle_, &options, nullptr, &size));
    bytes.resize(static_cast<std::size_t>(size));
    detail::check(gf_image_encode_png(handle_, &options, bytes.data(), &size));
    bytes.resize(static_cast<std::size_t>(size));
    return bytes;
  }

  void write_png(const std::string& path, const Text& parameters = Text(), std::uint32_t compression = 0) const {
    const gf_png_options options = png_options(parameters, compression);
    detail::check(gf_image_write_png(handle_, &options, path.c_str()));
  }

 private:
  static gf_png_options png_options(const Text& parameters, std::uint32_t compression) {
    gf_png_options options = GF_PNG_OPTIONS_INIT;
    options.compression = compression;
    options.parameters = parameters.c_str();
    return options;
  }

  gf_image* handle_ = nullptr;
};

/** How an engine works; 0 is the default. The fields are those of gf_engine_options. */
struct Options {
  std::vector<std::string> model_folders;
  std::uint32_t executor_count = 0;
  std::uint32_t thread_count = 0;
  std::uint32_t queue_limit = 0;
  std::uint32_t retained_job_count = 0;
  gf_log_level log_level = GF_LOG_OFF;
  bool allow_model_paths = false;
  Text backend_path;
  /** Set: events come here, on a thread of the engine, instead of being polled. What it throws ends there. */
  std::function<void(const gf_event&)> on_event;
  /** Set: log lines come here (record, module, message) instead of being polled. What it throws ends there. */
  std::function<void(const gf_log_record&, const char*, const char*)> on_log;
  std::uint32_t reserved_for_high = 0;
  std::uint32_t user_running_limit = 0;
  std::chrono::microseconds normal_max_wait{0};
  std::chrono::microseconds low_max_wait{0};
  gf_rate submit_rate = {0, 0, 0};
  gf_rate user_submit_rate = {0, 0, 0};
  /** As many names as rates. */
  std::vector<const char*> user_class_names;
  std::vector<gf_rate> user_class_rates;
  /** For gf_crash_note_write in the host's own crash handler. */
  bool keep_crash_note = false;
  /** How long the destructor of an engine waits for its threads. */
  std::chrono::microseconds close_timeout = std::chrono::seconds(10);

  /** The same for the C ABI, without the callbacks; its texts are this object's, its array is `folders`. */
  gf_engine_options c_options(std::vector<const char*>& folders) const {
    folders.clear();
    for (const std::string& folder : model_folders) folders.push_back(folder.c_str());
    gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
    options.model_folders = folders.data();
    options.model_folder_count = static_cast<std::uint32_t>(folders.size());
    options.executor_count = executor_count;
    options.thread_count = thread_count;
    options.queue_limit = queue_limit;
    options.retained_job_count = retained_job_count;
    options.log_level = static_cast<std::uint32_t>(log_level);
    options.allow_model_paths = allow_model_paths ? 1 : 0;
    options.backend_path = backend_path.c_str();
    options.reserved_for_high = reserved_for_high;
    options.user_running_limit = user_running_limit;
    options.normal_max_wait_us = detail::microseconds(normal_max_wait);
    options.low_max_wait_us = detail::microseconds(low_max_wait);
    options.submit_rate = submit_rate;
    options.user_submit_rate = user_submit_rate;
    options.user_class_names = user_class_names.data();
    options.user_class_rates = user_class_rates.data();
    options.user_class_count = static_cast<std::uint32_t>(user_class_names.size());
    options.keep_crash_note = keep_crash_note ? 1 : 0;
    return options;
  }
};

/** A configuration that was read from a file, the environment, or both. Move only. */
class Config {
 public:
  /** path missing: no file. */
  static Config load(const Text& path, bool use_environment) {
    gf_config* made = nullptr;
    detail::check(gf_config_load(path.c_str(), use_environment ? 1 : 0, &made));
    return Config(made);
  }
  Config(Config&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Config& operator=(Config&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;
  ~Config() {
    if (handle_ != nullptr) gf_config_release(handle_);
  }

  /** Copies what the configuration sets over `options`. */
  void apply(Options& options) const {
    std::vector<const char*> folders;
    gf_engine_options read = options.c_options(folders);
    read.model_folders = nullptr;  // Told apart from what the configuration sets.
    read.backend_path = nullptr;
    detail::check(gf_config_read(handle_, &read));
    options.executor_count = read.executor_count;
    options.thread_count = read.thread_count;
    options.queue_limit = read.queue_limit;
    options.retained_job_count = read.retained_job_count;
    options.log_level = static_cast<gf_log_level>(read.log_level);
    options.allow_model_paths = read.allow_model_paths != 0;
    if (read.model_folders != nullptr) {
      options.model_folders.assign(read.model_folders, read.model_folders + read.model_folder_count);
    }
    if (read.backend_path != nullptr) options.backend_path = read.backend_path;
  }

  std::string json() const {
    gf_config* const config = handle_;
    return detail::text([config](char* buffer, std::uint64_t* size) { return gf_config_json(config, buffer, size); });
  }

 private:
  explicit Config(gf_config* handle) noexcept : handle_(handle) {}

  gf_config* handle_ = nullptr;
};

/** What to generate; 0, and a text that is missing, mean the default. The fields are those of gf_request. */
struct Request {
  std::string model;
  std::string prompt;
  Text prompt_2;
  Text negative_prompt;
  Text negative_prompt_2;
  Text sampler;
  Text schedule;
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  std::uint32_t steps = 0;
  std::uint32_t image_count = 0;
  double cfg_scale = 0;
  double guidance_rescale = 0;
  std::uint64_t seed = 0;
  bool random_seed = false;
  bool keep_latents = false;
  std::uint64_t host_tag = 0;
  std::vector<float> initial_latents;
  std::uint32_t original_width_px = 0;
  std::uint32_t original_height_px = 0;
  std::uint32_t target_width_px = 0;
  std::uint32_t target_height_px = 0;
  std::uint32_t crop_left_px = 0;
  std::uint32_t crop_top_px = 0;
  std::vector<std::pair<std::string, double>> loras; /**< Name and scale. */
  bool lenient_loras = false;
  bool memory_may_change_pixels = false;
  std::uint32_t clip_skip = 0;
  gf_prompt_syntax prompt_syntax = GF_PROMPT_WEIGHTED;
  gf_long_prompt long_prompt = GF_LONG_PROMPT_CHUNKS;
  std::uint32_t tile = 0; /**< gf_tile bits. */
  double eta = 0;
  double strength = 0;
  Image init_image;
  Image mask;
  gf_noise noise = GF_NOISE_TORCH_CPU;
  gf_priority priority = GF_PRIORITY_NORMAL;
  Text user;
  Text user_class;
  Text idempotency_key;

  /** The LoRA names and scales of a c_request(), which point into these. */
  struct Lists {
    std::vector<const char*> lora_names;
    std::vector<double> lora_scales;
  };

  /** The same for the C ABI; its texts are this object's, its lists are `lists`. */
  gf_request c_request(Lists& lists) const {
    gf_request request = GF_REQUEST_INIT;
    if (random_seed) request.flags |= GF_REQUEST_RANDOM_SEED;
    if (keep_latents) request.flags |= GF_REQUEST_KEEP_LATENTS;
    request.width_px = width_px;
    request.height_px = height_px;
    request.steps = steps;
    request.image_count = image_count;
    request.cfg_scale = cfg_scale;
    request.guidance_rescale = guidance_rescale;
    request.seed = seed;
    request.host_tag = host_tag;
    request.model = model.c_str();
    request.prompt = prompt.c_str();
    request.prompt_2 = prompt_2.c_str();
    request.negative_prompt = negative_prompt.c_str();
    request.negative_prompt_2 = negative_prompt_2.c_str();
    request.sampler = sampler.c_str();
    request.schedule = schedule.c_str();
    request.initial_latents = initial_latents.empty() ? nullptr : initial_latents.data();
    request.initial_latent_count = initial_latents.size();
    request.original_width_px = original_width_px;
    request.original_height_px = original_height_px;
    request.target_width_px = target_width_px;
    request.target_height_px = target_height_px;
    request.crop_left_px = crop_left_px;
    request.crop_top_px = crop_top_px;
    for (const auto& lora : loras) {
      lists.lora_names.push_back(lora.first.c_str());
      lists.lora_scales.push_back(lora.second);
    }
    request.lora_names = lists.lora_names.data();
    request.lora_scales = lists.lora_scales.data();
    request.lora_count = static_cast<std::uint32_t>(loras.size());
    if (lenient_loras) request.flags |= GF_REQUEST_LENIENT_LORA;
    if (memory_may_change_pixels) request.flags |= GF_REQUEST_MEMORY_MAY_CHANGE_PIXELS;
    request.clip_skip = clip_skip;
    request.prompt_syntax = prompt_syntax;
    request.long_prompt = long_prompt;
    request.tile = tile;
    request.eta = eta;
    request.strength = strength;
    request.init_image = init_image.handle();
    request.mask = mask.handle();
    request.noise = noise;
    request.priority = static_cast<std::uint32_t>(priority);
    request.user = user.c_str();
    request.user_class = user_class.c_str();
    request.idempotency_key = idempotency_key.c_str();
    return request;
  }
};

/** An engine. Move only; closed by its destructor. */
class Engine {
 public:
  explicit Engine(const Options& options = Options()) : close_timeout_(options.close_timeout) {
    std::vector<const char*> folders;
    gf_engine_options c = options.c_options(folders);
    if (options.on_event || options.on_log) {
      callbacks_.reset(new Callbacks{options.on_event, options.on_log});
      if (options.on_event) {
        c.event_callback = &Callbacks::event;
        c.event_user_data = callbacks_.get();
      }
      if (options.on_log) {
        c.log_callback = &Callbacks::log;
        c.log_user_data = callbacks_.get();
      }
    }
    detail::check(gf_engine_open(&c, &handle_));
  }
  Engine(Engine&& other) noexcept
      : handle_(other.handle_),
        close_timeout_(other.close_timeout_),
        callbacks_(std::move(other.callbacks_)),
        strategies_(std::move(other.strategies_)) {
    other.handle_ = nullptr;
  }
  Engine& operator=(Engine&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(close_timeout_, other.close_timeout_);
    std::swap(callbacks_, other.callbacks_);
    std::swap(strategies_, other.strategies_);
    return *this;
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() { end(detail::microseconds(close_timeout_)); }

  /** False when threads are still ending; the engine is closed all the same. */
  bool close(std::chrono::microseconds timeout) {
    const gf_status status = end(detail::microseconds(timeout));
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    return true;
  }

  gf_engine* handle() const noexcept { return handle_; }

  JobId submit(const Request& request) {
    Request::Lists lists;
    const gf_request c = request.c_request(lists);
    JobId job;
    detail::check(gf_engine_submit(handle_, &c, &job.id));
    return job;
  }

  /** Takes the next event. False: there is none now. */
  bool poll(gf_event& event) {
    event = fresh_event();
    const gf_status status = gf_engine_poll(handle_, &event);
    if (status == GF_ERR_WOULD_BLOCK) return false;
    detail::check(status);
    return true;
  }

  /** Takes the next event, waiting for one. False: none came in time. */
  bool wait_event(gf_event& event, std::chrono::microseconds timeout) {
    event = fresh_event();
    const gf_status status = gf_engine_wait_event(handle_, detail::microseconds(timeout), &event);
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    return true;
  }

  /** Takes the next log line as module, tab, message. False: there is none now. */
  bool poll_log(gf_log_record& record, std::string& line) {
    std::uint64_t size = 0;
    gf_log_record empty = GF_LOG_RECORD_INIT;
    record = empty;
    gf_status status = gf_engine_poll_log(handle_, &record, nullptr, &size);
    while (status == GF_OK || status == GF_ERR_BUFFER_TOO_SMALL) {
      line.resize(static_cast<std::size_t>(size));
      status = gf_engine_poll_log(handle_, &record, &line[0], &size);
      if (status != GF_OK) continue;  // Another thread took the line that was asked for.
      line.resize(static_cast<std::size_t>(size) - 1);
      return true;
    }
    if (status == GF_ERR_WOULD_BLOCK) return false;
    detail::check(status);
    return false;
  }

  gf_job_info status(const JobId& job) const {
    gf_job_info info = GF_JOB_INFO_INIT;
    detail::check(gf_job_status(handle_, &job.id, &info));
    return info;
  }

  /** Waits until a job is over. False: the time was over first. Throws what the job failed with. */
  bool wait(const JobId& job, std::chrono::microseconds timeout, gf_job_info* out_info = nullptr) const {
    gf_job_info info = GF_JOB_INFO_INIT;
    const gf_status status = gf_job_wait(handle_, &job.id, detail::microseconds(timeout), &info);
    if (out_info != nullptr) *out_info = info;
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    if (info.status != GF_OK) {
      detail::raise(static_cast<gf_status>(info.status), detail::json_member(error_json(job), "message").c_str());
    }
    return true;
  }

  void cancel(const JobId& job, gf_cancel_mode mode = GF_CANCEL_NOW) {
    detail::check(gf_job_cancel(handle_, &job.id, static_cast<std::uint32_t>(mode)));
  }
  void forget(const JobId& job) { detail::check(gf_job_forget(handle_, &job.id)); }

  Image image(const JobId& job, std::uint32_t index) const {
    gf_image* made = nullptr;
    detail::check(gf_job_image(handle_, &job.id, index, &made));
    return Image(made);
  }

  /** Last latents of one image; the request must have had keep_latents. */
  std::vector<float> latents(const JobId& job, std::uint32_t index) const {
    std::uint64_t count = 0;
    detail::check(gf_job_latents(handle_, &job.id, index, nullptr, &count));
    std::vector<float> values(static_cast<std::size_t>(count));
    detail::check(gf_job_latents(handle_, &job.id, index, values.data(), &count));
    return values;
  }

  std::string error_json(const JobId& job) const { return job_text(job, gf_job_error_json); }
  std::string report_json(const JobId& job) const { return job_text(job, gf_job_report_json); }

  /** The recipe of an image, for Image::png and Image::write_png. */
  std::string parameters_text(const JobId& job, std::uint32_t index) const {
    gf_engine* const engine = handle_;
    const gf_job_id* const id = &job.id;
    return detail::text([engine, id, index](char* buffer, std::uint64_t* size) {
      return gf_job_parameters_text(engine, id, index, buffer, size);
    });
  }

  std::string statistics_json() const { return engine_text(gf_engine_statistics_json); }

  /** What the engines of this process may hold of a device; 0 takes the budget away. */
  void set_memory_budget(std::uint32_t device, std::uint64_t bytes) {
    detail::check(gf_engine_set_memory_budget(handle_, device, bytes));
  }
  /** Has idle models given back; how many bytes came of it. */
  std::uint64_t request_memory(std::uint32_t device, std::uint64_t bytes, std::chrono::microseconds timeout) {
    std::uint64_t given = 0;
    detail::check(gf_engine_request_memory(handle_, device, bytes, detail::microseconds(timeout), &given));
    return given;
  }
  void set_pressure_events(bool wanted) { detail::check(gf_engine_set_pressure_events(handle_, wanted ? 1 : 0)); }
  gf_memory_report memory_report(std::uint32_t device) const {
    gf_memory_report report = GF_MEMORY_REPORT_INIT;
    detail::check(gf_engine_memory_report(handle_, device, &report));
    return report;
  }
  std::string memory_json() const { return engine_text(gf_engine_memory_json); }

  JobId load_ahead(const std::string& model, std::uint64_t host_tag = 0) {
    JobId job;
    detail::check(gf_model_load_ahead(handle_, model.c_str(), host_tag, &job.id));
    return job;
  }
  std::string model_info_json(const std::string& model) const {
    gf_engine* const engine = handle_;
    const char* const name = model.c_str();
    return detail::text(
        [engine, name](char* buffer, std::uint64_t* size) { return gf_model_info_json(engine, name, buffer, size); });
  }
  std::string model_list_json() const { return engine_text(gf_model_list_json); }
  void pin_model(const std::string& model, bool pinned) {
    detail::check(gf_model_pin(handle_, model.c_str(), pinned ? 1 : 0));
  }
  void release_model(const std::string& model) { detail::check(gf_model_release(handle_, model.c_str())); }

  /** Decides about a failure, on a thread of the engine; may set how long to wait. What it throws counts as passing. */
  using Strategy = std::function<gf_recovery(const gf_failure&, std::chrono::microseconds& wait)>;
  /** For a status, or GF_OK and a category such as "network", or everything. */
  void add_strategy(const std::string& name, Strategy decide, gf_status status = GF_OK, const Text& category = Text()) {
    strategies_.emplace_back(new Strategy(std::move(decide)));
    gf_recovery_strategy c = GF_RECOVERY_STRATEGY_INIT;
    c.name = name.c_str();
    c.status = static_cast<std::uint32_t>(status);
    c.category = category.c_str();
    c.callback = &Engine::decide;
    c.user_data = strategies_.back().get();
    const gf_status added = gf_engine_add_strategy(handle_, &c);
    if (added != GF_OK) strategies_.pop_back();
    detail::check(added);
  }
  /** It may still be running: the function itself stays as long as the engine. */
  void remove_strategy(const std::string& name) { detail::check(gf_engine_remove_strategy(handle_, name.c_str())); }

 private:
  static std::uint32_t decide(void* self, const gf_failure* failure, std::int64_t* wait_us) {
    try {
      std::chrono::microseconds wait(0);
      const gf_recovery answer = (*static_cast<Strategy*>(self))(*failure, wait);
      *wait_us = wait.count();
      return answer;
    } catch (...) {
      return GF_RECOVERY_PASS;
    }
  }

  struct Callbacks {
    std::function<void(const gf_event&)> on_event;
    std::function<void(const gf_log_record&, const char*, const char*)> on_log;

    // Nothing may be thrown through the library.
    static void event(void* self, const gf_event* event) {
      try {
        static_cast<Callbacks*>(self)->on_event(*event);
      } catch (...) {
      }
    }
    static void log(void* self, const gf_log_record* record, const char* module, const char* message) {
      try {
        static_cast<Callbacks*>(self)->on_log(*record, module, message);
      } catch (...) {
      }
    }
  };

  static gf_event fresh_event() {
    gf_event event = GF_EVENT_INIT;
    return event;
  }

  gf_status end(std::int64_t timeout_us) noexcept {
    if (handle_ == nullptr) return GF_OK;
    const gf_status status = gf_engine_close(handle_, timeout_us);
    if (status == GF_ERR_WRONG_STATE || status == GF_ERR_INVALID_ARGUMENT) return status;  // Still open.
    handle_ = nullptr;
    // A callback may still be running on a thread that has not ended in time: what it uses is left to it.
    if (status == GF_ERR_TIMED_OUT) {
      static_cast<void>(callbacks_.release());
      for (auto& strategy : strategies_) static_cast<void>(strategy.release());
    }
    return status;
  }

  std::string engine_text(gf_status (*call)(gf_engine*, char*, std::uint64_t*)) const {
    gf_engine* const engine = handle_;
    return detail::text([engine, call](char* buffer, std::uint64_t* size) { return call(engine, buffer, size); });
  }
  std::string job_text(const JobId& job, gf_status (*call)(gf_engine*, const gf_job_id*, char*, std::uint64_t*)) const {
    gf_engine* const engine = handle_;
    const gf_job_id* const id = &job.id;
    return detail::text(
        [engine, id, call](char* buffer, std::uint64_t* size) { return call(engine, id, buffer, size); });
  }

  gf_engine* handle_ = nullptr;
  std::chrono::microseconds close_timeout_;
  std::unique_ptr<Callbacks> callbacks_;
  std::vector<std::unique_ptr<Strategy>> strategies_;
};

/** What generation needs and what is missing, as gf_doctor_json gives it. */
inline std::string doctor_json(const Options& options = Options()) {
  std::vector<const char*> folders;
  const gf_engine_options c = options.c_options(folders);
  const gf_engine_options* const given = &c;
  return detail::text([given](char* buffer, std::uint64_t* size) { return gf_doctor_json(given, buffer, size); });
}

/** Where a plan of migrations leads. */
struct MigrationGoal {
  gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;

  /** Apply what is pending, up to `version` where that is not 0. */
  static MigrationGoal up(std::int64_t version = 0) { return made(GF_MIGRATION_GOAL_UP, version, 0, false); }
  /** Undo one migration; cascade: and first what depends on it. */
  static MigrationGoal rollback(std::int64_t version, bool cascade = false) {
    return made(GF_MIGRATION_GOAL_ROLLBACK, version, 0, cascade);
  }
  /** Undo what was applied after `version`, which stays; 0: all. */
  static MigrationGoal rollback_to(std::int64_t version) {
    return made(GF_MIGRATION_GOAL_ROLLBACK_TO, version, 0, false);
  }
  /** Undo the last ones. */
  static MigrationGoal rollback_steps(std::uint32_t steps) {
    return made(GF_MIGRATION_GOAL_ROLLBACK_STEPS, 0, steps, false);
  }
  /** Undo one migration, or with 0 the last, and apply it again. */
  static MigrationGoal redo(std::int64_t version = 0, bool cascade = false) {
    return made(GF_MIGRATION_GOAL_REDO, version, 0, cascade);
  }

 private:
  static MigrationGoal made(gf_migration_goal_kind kind, std::int64_t version, std::uint32_t steps, bool cascade) {
    MigrationGoal goal;
    goal.goal.kind = static_cast<std::uint32_t>(kind);
    goal.goal.version = version;
    goal.goal.steps = steps;
    goal.goal.cascade = cascade ? 1 : 0;
    return goal;
  }
};

/** Which database, which files, and how they are run. The fields are those of gf_migrator_options. */
struct MigratorOptions {
  Text url;
  Text folder;
  /** Files that the host brings along, name and text, where there is no folder. */
  std::vector<std::pair<std::string, std::string>> files;
  /** Values of ${name}, for files that declare it. */
  std::vector<std::pair<std::string, std::string>> variables;
  bool allow_out_of_order = false;
  bool all_or_nothing = false;
  bool checks = true;
  Text applied_by;
  Text tool_version;
  std::chrono::microseconds lock_wait{0};
  std::chrono::microseconds lock_timeout{0};
  std::chrono::microseconds statement_timeout{0};
  std::uint32_t lock_retries = 0;
  /** Called before and after each migration (label, direction, moment), on the migrator's thread. False, or what it
   * throws, ends the run as cancelled; what was applied stays. */
  std::function<bool(const char*, gf_migration_direction, gf_migration_moment)> hook;
  /** How long the destructor of a migrator waits for its thread. */
  std::chrono::microseconds close_timeout = std::chrono::seconds(10);
};

/** One entry of a status. */
struct MigrationStatus {
  gf_migration_state state;
  std::int64_t version;
  std::chrono::microseconds duration;
  std::string label;
  std::string applied_at;
  std::string applied_by;
  std::string origin;
  std::string detail;
};

/**
 * A migrator: one database and one set of files. Move only; closed by its destructor. Each of plan, apply, prove,
 * read_status, validate, ... starts a work and returns; wait() throws what it failed with.
 *
 *     gameforge::MigratorOptions options;
 *     options.url = "sqlite:game.db";
 *     options.folder = "migrations";
 *     gameforge::Migrator migrator(options);
 *     migrator.apply();
 *     migrator.wait();
 */
class Migrator {
 public:
  explicit Migrator(const MigratorOptions& options) : close_timeout_(options.close_timeout) {
    gf_migrator_options c = GF_MIGRATOR_OPTIONS_INIT;
    if (options.allow_out_of_order) c.flags |= GF_MIGRATOR_ALLOW_OUT_OF_ORDER;
    if (options.all_or_nothing) c.flags |= GF_MIGRATOR_ALL_OR_NOTHING;
    if (!options.checks) c.flags |= GF_MIGRATOR_NO_CHECKS;
    c.url = options.url.c_str();
    c.folder = options.folder.c_str();
    std::vector<const char*> names, texts, variables, values;
    for (const auto& file : options.files) {
      names.push_back(file.first.c_str());
      texts.push_back(file.second.c_str());
    }
    for (const auto& variable : options.variables) {
      variables.push_back(variable.first.c_str());
      values.push_back(variable.second.c_str());
    }
    c.file_names = names.data();
    c.file_texts = texts.data();
    c.file_count = static_cast<std::uint32_t>(names.size());
    c.variable_names = variables.data();
    c.variable_values = values.data();
    c.variable_count = static_cast<std::uint32_t>(variables.size());
    c.applied_by = options.applied_by.c_str();
    c.tool_version = options.tool_version.c_str();
    c.lock_wait_us = detail::microseconds(options.lock_wait);
    c.lock_timeout_us = detail::microseconds(options.lock_timeout);
    c.statement_timeout_us = detail::microseconds(options.statement_timeout);
    c.lock_retries = options.lock_retries;
    if (options.hook) {
      hook_.reset(new Hook(options.hook));
      c.hook = &call_hook;
      c.hook_user_data = hook_.get();
    }
    detail::check(gf_migrator_open(&c, &handle_));
  }
  Migrator(Migrator&& other) noexcept
      : handle_(other.handle_), close_timeout_(other.close_timeout_), hook_(std::move(other.hook_)) {
    other.handle_ = nullptr;
  }
  Migrator& operator=(Migrator&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(close_timeout_, other.close_timeout_);
    std::swap(hook_, other.hook_);
    return *this;
  }
  Migrator(const Migrator&) = delete;
  Migrator& operator=(const Migrator&) = delete;
  ~Migrator() { end(detail::microseconds(close_timeout_)); }

  /** False when the thread is still ending; the migrator is closed all the same. */
  bool close(std::chrono::microseconds timeout) {
    const gf_status status = end(detail::microseconds(timeout));
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    return true;
  }

  gf_migrator* handle() const noexcept { return handle_; }

  void plan(const MigrationGoal& goal = MigrationGoal()) { detail::check(gf_migrator_plan(handle_, &goal.goal)); }
  void apply(const MigrationGoal& goal = MigrationGoal()) { detail::check(gf_migrator_apply(handle_, &goal.goal)); }
  void prove(const MigrationGoal& goal = MigrationGoal(), bool in_place = false) {
    detail::check(gf_migrator_prove(handle_, &goal.goal, in_place ? 1 : 0));
  }
  void read_status() { detail::check(gf_migrator_status(handle_)); }
  void validate() { detail::check(gf_migrator_validate(handle_)); }
  void round_trip() { detail::check(gf_migrator_round_trip(handle_)); }
  void baseline(std::int64_t version) { detail::check(gf_migrator_baseline(handle_, version)); }
  void repair(gf_migration_repair repair, std::int64_t version, const Text& reason = Text()) {
    detail::check(gf_migrator_repair(handle_, static_cast<std::uint32_t>(repair), version, reason.c_str()));
  }
  void dump() { detail::check(gf_migrator_dump(handle_)); }
  void diff() { detail::check(gf_migrator_diff(handle_)); }
  void drift() { detail::check(gf_migrator_drift(handle_)); }
  void cancel() { detail::check(gf_migrator_cancel(handle_)); }

  /** Takes the next event and its text. False: there is none now. */
  bool poll(gf_migration_event& event, std::string& event_text) {
    std::uint64_t size = 0;
    gf_migration_event empty = GF_MIGRATION_EVENT_INIT;
    event = empty;
    gf_status status = gf_migrator_poll(handle_, &event, nullptr, &size);
    while (status == GF_OK || status == GF_ERR_BUFFER_TOO_SMALL) {
      event_text.resize(static_cast<std::size_t>(size));
      status = gf_migrator_poll(handle_, &event, &event_text[0], &size);
      if (status != GF_OK) continue;  // Another thread took it, or it was replaced by a newer one.
      event_text.resize(static_cast<std::size_t>(size) - 1);
      return true;
    }
    if (status == GF_ERR_WOULD_BLOCK) return false;
    detail::check(status);
    return false;
  }

  /** Waits until the work is over. False: the time was over first. Throws what the work failed with. */
  bool wait(std::chrono::microseconds timeout, gf_migrator_info* out_info = nullptr) const {
    gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
    const gf_status status = gf_migrator_wait(handle_, detail::microseconds(timeout), &info);
    if (out_info != nullptr) *out_info = info;
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    if (info.status != GF_OK) {
      detail::raise(static_cast<gf_status>(info.status), detail::json_member(error_json(), "message").c_str());
    }
    return true;
  }

  /** The same without a limit. */
  gf_migrator_info wait() const {
    gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
    while (!wait(std::chrono::hours(1), &info)) {
    }
    return info;
  }

  std::string report_json() const { return text(gf_migrator_report_json); }
  std::string error_json() const { return text(gf_migrator_error_json); }

  /** The entries of the status that was read last. */
  std::vector<MigrationStatus> entries() const {
    gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
    detail::check(gf_migrator_wait(handle_, 0, &info));
    std::vector<MigrationStatus> entries;
    for (std::uint32_t index = 0; index < info.entry_count; ++index) {
      gf_migration_entry entry = GF_MIGRATION_ENTRY_INIT;
      detail::check(gf_migrator_entry(handle_, index, &entry));
      entries.push_back({static_cast<gf_migration_state>(entry.state), entry.version,
                         std::chrono::microseconds(entry.duration_us), entry_text(index, GF_MIGRATION_TEXT_LABEL),
                         entry_text(index, GF_MIGRATION_TEXT_APPLIED_AT),
                         entry_text(index, GF_MIGRATION_TEXT_APPLIED_BY), entry_text(index, GF_MIGRATION_TEXT_ORIGIN),
                         entry_text(index, GF_MIGRATION_TEXT_DETAIL)});
    }
    return entries;
  }

  /** Makes the next numbered file of a folder from a template, and gives its path. */
  static std::string create(const std::string& folder, const std::string& name) {
    const char* const in = folder.c_str();
    const char* const what = name.c_str();
    return detail::text(
        [in, what](char* buffer, std::uint64_t* size) { return gf_migration_create(in, what, buffer, size); });
  }

 private:
  using Hook = std::function<bool(const char*, gf_migration_direction, gf_migration_moment)>;

  // Nothing may be thrown through the library.
  static gf_status call_hook(void* self, const char* label, std::uint32_t direction, std::uint32_t moment) {
    try {
      const bool go_on = (*static_cast<Hook*>(self))(label, static_cast<gf_migration_direction>(direction),
                                                     static_cast<gf_migration_moment>(moment));
      return go_on ? GF_OK : GF_ERR_CANCELLED;
    } catch (...) {
      return GF_ERR_CANCELLED;
    }
  }

  gf_status end(std::int64_t timeout_us) noexcept {
    if (handle_ == nullptr) return GF_OK;
    const gf_status status = gf_migrator_close(handle_, timeout_us);
    if (status == GF_ERR_WRONG_STATE || status == GF_ERR_INVALID_ARGUMENT) return status;  // Still open.
    handle_ = nullptr;
    // The hook may still be running on the thread that has not ended in time: what it uses is left to it.
    if (status == GF_ERR_TIMED_OUT) static_cast<void>(hook_.release());
    return status;
  }

  std::string text(gf_status (*call)(gf_migrator*, char*, std::uint64_t*)) const {
    gf_migrator* const migrator = handle_;
    return detail::text([migrator, call](char* buffer, std::uint64_t* size) { return call(migrator, buffer, size); });
  }
  std::string entry_text(std::uint32_t index, gf_migration_text which) const {
    gf_migrator* const migrator = handle_;
    return detail::text([migrator, index, which](char* buffer, std::uint64_t* size) {
      return gf_migrator_entry_text(migrator, index, static_cast<std::uint32_t>(which), buffer, size);
    });
  }

  gf_migrator* handle_ = nullptr;
  std::chrono::microseconds close_timeout_;
  std::unique_ptr<Hook> hook_;
};

/** How a queue works: the numbers of gf_queue_options, with the texts and arrays that it points to. */
struct QueueOptions {
  gf_queue_options numbers = GF_QUEUE_OPTIONS_INIT;
  Text redis_url; /**< Not set: in this process. */
  Text name_space;
  Text journal;
  Text name;
  std::vector<gf_retry_rule> rules;

  /** As the C ABI takes it; points into this. */
  gf_queue_options c_options() const {
    gf_queue_options c = numbers;
    c.redis_url = redis_url.c_str();
    c.name_space = name_space.c_str();
    c.name = name.c_str();
    c.journal = journal.c_str();
    c.rules = rules.data();
    c.rule_count = static_cast<std::uint32_t>(rules.size());
    return c;
  }
};

/** What is put into a queue. The fields are those of gf_queue_job. */
struct QueueJob {
  JobId id;
  gf_priority priority = GF_PRIORITY_NORMAL;
  std::string payload;
  Text user;
  Text content_type;
  std::vector<std::string> tags;
  Text idempotency_key;
  gf_key_scope key_scope = GF_KEY_FOR_TIME;
  gf_on_duplicate on_duplicate = GF_DUPLICATE_JOIN;
  std::chrono::microseconds key_ttl{0};
  std::chrono::microseconds delay{0};
  std::chrono::microseconds deadline{0};
  std::uint32_t max_attempts = 0;
  std::chrono::microseconds retry_base{0};
  std::chrono::microseconds retry_cap{0};

  /** As the C ABI takes it; points into this and into `tag_texts`. */
  gf_queue_job c_job(std::vector<const char*>& tag_texts) const {
    gf_queue_job c = GF_QUEUE_JOB_INIT;
    c.priority = static_cast<std::uint32_t>(priority);
    c.id = id.id;
    c.user = user.c_str();
    c.content_type = content_type.c_str();
    c.payload = reinterpret_cast<const std::uint8_t*>(payload.data());
    c.payload_bytes = payload.size();
    for (const auto& tag : tags) tag_texts.push_back(tag.c_str());
    c.tags = tag_texts.data();
    c.tag_count = static_cast<std::uint32_t>(tags.size());
    c.idempotency_key = idempotency_key.c_str();
    c.key_ttl_us = detail::microseconds(key_ttl);
    c.delay_us = detail::microseconds(delay);
    c.deadline_us = detail::microseconds(deadline);
    c.retry_base_us = detail::microseconds(retry_base);
    c.retry_cap_us = detail::microseconds(retry_cap);
    c.max_attempts = max_attempts;
    c.key_scope = static_cast<std::uint32_t>(key_scope);
    c.on_duplicate = static_cast<std::uint32_t>(on_duplicate);
    return c;
  }
};

/** What became of an enqueue. */
struct QueueEnqueued {
  JobId id;
  gf_status status;
  bool duplicate;
  gf_queue_state state;
};

/** Which jobs a call means. */
struct QueueFilter {
  gf_queue_state state = GF_QUEUE_DEAD;
  Text user;
  Text tag;
  gf_status status = GF_OK; /**< Of dead letters; GF_OK: any. */
  std::chrono::microseconds older_than{0};

  gf_queue_filter c_filter() const {
    gf_queue_filter c = GF_QUEUE_FILTER_INIT;
    c.state = static_cast<std::uint32_t>(state);
    c.status = static_cast<std::uint32_t>(status);
    c.user = user.c_str();
    c.tag = tag.c_str();
    c.older_than_us = detail::microseconds(older_than);
    return c;
  }
};

/** Jobs that were read or taken: a counted object, apart from its queue. Leases stay as they are when it goes. */
class QueueJobs {
 public:
  /** None; only to be assigned to. */
  QueueJobs() = default;
  /** Takes over a handle. */
  explicit QueueJobs(gf_queue_jobs* handle) noexcept : handle_(handle) {}
  QueueJobs(QueueJobs&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  QueueJobs& operator=(QueueJobs&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  QueueJobs(const QueueJobs&) = delete;
  QueueJobs& operator=(const QueueJobs&) = delete;
  ~QueueJobs() { gf_queue_jobs_release(handle_); }

  std::uint32_t size() const {
    std::uint32_t count = 0;
    if (handle_ != nullptr) detail::check(gf_queue_jobs_count(handle_, &count));
    return count;
  }
  bool empty() const { return size() == 0; }
  gf_queue_job_info info(std::uint32_t index) const {
    gf_queue_job_info info = GF_QUEUE_JOB_INFO_INIT;
    detail::check(gf_queue_jobs_info(handle_, index, &info));
    return info;
  }
  gf_lease_key key(std::uint32_t index) const { return info(index).key; }
  std::string payload(std::uint32_t index) const { return bytes(index, GF_QUEUE_BYTES_PAYLOAD); }
  std::string result(std::uint32_t index) const { return bytes(index, GF_QUEUE_BYTES_RESULT); }
  std::string text(std::uint32_t index, gf_queue_text which, std::uint32_t nth = 0) const {
    gf_queue_jobs* const jobs = handle_;
    return detail::text([jobs, index, which, nth](char* buffer, std::uint64_t* size) {
      return gf_queue_jobs_text(jobs, index, static_cast<std::uint32_t>(which), nth, buffer, size);
    });
  }
  gf_queue_attempt attempt(std::uint32_t index, std::uint32_t nth) const {
    gf_queue_attempt attempt = GF_QUEUE_ATTEMPT_INIT;
    detail::check(gf_queue_jobs_attempt(handle_, index, nth, &attempt));
    return attempt;
  }
  std::string json(std::uint32_t index) const {
    gf_queue_jobs* const jobs = handle_;
    return detail::text(
        [jobs, index](char* buffer, std::uint64_t* size) { return gf_queue_jobs_json(jobs, index, buffer, size); });
  }
  /** For the page that follows; empty after the last. */
  std::string cursor() const {
    gf_queue_jobs* const jobs = handle_;
    return detail::text([jobs](char* buffer, std::uint64_t* size) { return gf_queue_jobs_cursor(jobs, buffer, size); });
  }
  gf_queue_jobs* handle() const noexcept { return handle_; }

 private:
  std::string bytes(std::uint32_t index, gf_queue_bytes which) const {
    const std::uint8_t* bytes = nullptr;
    std::uint64_t size = 0;
    detail::check(gf_queue_jobs_bytes(handle_, index, static_cast<std::uint32_t>(which), &bytes, &size));
    return std::string(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  }

  gf_queue_jobs* handle_ = nullptr;
};

/**
 * A queue, in this process or in Redis. Move only; closed by its destructor.
 *
 *     gameforge::Queue queue;
 *     gameforge::QueueJob job;
 *     job.payload = "a red potion";
 *     queue.enqueue(job);
 *     const gameforge::QueueJobs jobs = queue.reserve(1, "worker 1", std::chrono::seconds(5));
 *     for (std::uint32_t index = 0; index < jobs.size(); ++index) queue.complete(jobs.key(index));
 */
class Queue {
 public:
  explicit Queue(const QueueOptions& options = QueueOptions()) {
    const gf_queue_options c = options.c_options();
    detail::check(gf_queue_open(&c, &handle_));
  }
  Queue(Queue&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Queue& operator=(Queue&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue() { gf_queue_close(handle_); }

  gf_queue* handle() const noexcept { return handle_; }

  /** Other numbers and rules; the texts are not looked at. */
  void configure(const QueueOptions& options) {
    const gf_queue_options c = options.c_options();
    detail::check(gf_queue_configure(handle_, &c));
  }
  void stop() { detail::check(gf_queue_stop(handle_)); }

  QueueEnqueued enqueue(const QueueJob& job, std::chrono::microseconds timeout = std::chrono::microseconds(0)) {
    std::vector<const char*> tags;
    const gf_queue_job c = job.c_job(tags);
    gf_queue_enqueued out = GF_QUEUE_ENQUEUED_INIT;
    detail::check(gf_queue_enqueue(handle_, &c, detail::microseconds(timeout), &out));
    return enqueued(out);
  }
  /** Throws only when none could be put in; else each entry has its status. */
  std::vector<QueueEnqueued> enqueue_many(const std::vector<QueueJob>& jobs) {
    std::vector<std::vector<const char*>> tags(jobs.size());
    std::vector<gf_queue_job> c;
    for (std::size_t index = 0; index < jobs.size(); ++index) c.push_back(jobs[index].c_job(tags[index]));
    const gf_queue_enqueued fresh = GF_QUEUE_ENQUEUED_INIT;
    std::vector<gf_queue_enqueued> out(jobs.size(), fresh);
    const gf_status status = gf_queue_enqueue_many(handle_, c.data(), static_cast<std::uint32_t>(c.size()), out.data());
    std::vector<QueueEnqueued> answers;
    bool any = false;
    for (const auto& one : out) {
      answers.push_back(enqueued(one));
      any = any || answers.back().id != JobId();
    }
    if (!any) detail::check(status);
    return answers;
  }

  /** Empty when no job came in time. lease 0: the queue's. */
  QueueJobs reserve(std::uint32_t count, const Text& worker, std::chrono::microseconds timeout,
                    std::chrono::microseconds lease = std::chrono::microseconds(0)) {
    gf_queue_jobs* jobs = nullptr;
    const gf_status status = gf_queue_reserve(handle_, worker.c_str(), detail::microseconds(lease),
                                              detail::microseconds(timeout), &count, &jobs);
    if (status != GF_ERR_WOULD_BLOCK && status != GF_ERR_TIMED_OUT) detail::check(status);
    return QueueJobs(jobs);
  }
  /** A heartbeat. True: end the run, it was cancelled. Throws GF_ERR_LEASE_LOST where it is somebody else's. */
  bool extend(const gf_lease_key& key, std::chrono::microseconds lease = std::chrono::microseconds(0)) {
    gf_heartbeat heartbeat = GF_HEARTBEAT_INIT;
    detail::check(gf_queue_extend(handle_, &key, detail::microseconds(lease), &heartbeat));
    return heartbeat.cancel_requested != 0;
  }
  /** Keeps the lease from a thread of the queue's own until the run is ended or let go. lease 0: the queue's. */
  void hold(const gf_lease_key& key, std::chrono::microseconds lease = std::chrono::microseconds(0)) {
    detail::check(gf_queue_hold(handle_, &key, detail::microseconds(lease)));
  }
  /** A GF_LEASE_* value. Never waits. */
  std::uint32_t hold_state(const gf_lease_key& key) {
    std::uint32_t state = 0;
    detail::check(gf_queue_hold_state(handle_, &key, &state));
    return state;
  }
  void let_go(const gf_lease_key& key) { detail::check(gf_queue_let_go(handle_, &key)); }
  void report_progress(const gf_lease_key& key, std::uint64_t done, std::uint64_t total, const Text& note = Text()) {
    detail::check(gf_queue_report_progress(handle_, &key, done, total, note.c_str()));
  }
  void complete(const gf_lease_key& key, const Text& reference = Text(), const std::string& bytes = std::string()) {
    gf_queue_result result = GF_QUEUE_RESULT_INIT;
    result.reference = reference.c_str();
    result.bytes = reinterpret_cast<const std::uint8_t*>(bytes.data());
    result.byte_count = bytes.size();
    detail::check(gf_queue_complete(handle_, &key, &result));
  }
  /** The gf_status of each. */
  std::vector<std::uint32_t> complete_many(const std::vector<gf_lease_key>& keys) {
    std::vector<std::uint32_t> statuses(keys.size(), static_cast<std::uint32_t>(GF_ERR_INTERNAL));
    const gf_status status =
        gf_queue_complete_many(handle_, keys.data(), nullptr, static_cast<std::uint32_t>(keys.size()), statuses.data());
    if (status == GF_ERR_INVALID_ARGUMENT || status == GF_ERR_INVALID_HANDLE) detail::check(status);
    return statuses;
  }
  gf_queue_outcome fail(const gf_lease_key& key, gf_status why, const Text& message = Text(),
                        gf_failure_action action = GF_FAILURE_BY_RULES) {
    gf_queue_failure failure = GF_QUEUE_FAILURE_INIT;
    failure.status = static_cast<std::uint32_t>(why);
    failure.action = static_cast<std::uint32_t>(action);
    failure.message = message.c_str();
    gf_queue_outcome outcome = GF_QUEUE_OUTCOME_INIT;
    detail::check(gf_queue_fail(handle_, &key, &failure, &outcome));
    return outcome;
  }
  gf_queue_outcome release_lease(const gf_lease_key& key,
                                 std::chrono::microseconds delay = std::chrono::microseconds(0)) {
    gf_queue_outcome outcome = GF_QUEUE_OUTCOME_INIT;
    detail::check(gf_queue_release_lease(handle_, &key, detail::microseconds(delay), &outcome));
    return outcome;
  }

  gf_cancel_outcome cancel(const JobId& job) {
    std::uint32_t outcome = 0;
    detail::check(gf_queue_cancel(handle_, &job.id, &outcome));
    return static_cast<gf_cancel_outcome>(outcome);
  }
  /** One job, whole. */
  QueueJobs get(const JobId& job) const {
    gf_queue_jobs* jobs = nullptr;
    detail::check(gf_queue_get(handle_, &job.id, &jobs));
    return QueueJobs(jobs);
  }
  /** A page; cursor: of the page before, or empty. */
  QueueJobs list(const QueueFilter& filter, const std::string& cursor = std::string(),
                 std::uint32_t limit = 100) const {
    const gf_queue_filter c = filter.c_filter();
    gf_queue_jobs* jobs = nullptr;
    detail::check(gf_queue_list(handle_, &c, cursor.c_str(), limit, &jobs));
    return QueueJobs(jobs);
  }
  std::uint64_t purge(const QueueFilter& filter, std::chrono::microseconds timeout) {
    const gf_queue_filter c = filter.c_filter();
    std::uint64_t changed = 0;
    detail::check(gf_queue_purge(handle_, &c, detail::microseconds(timeout), &changed));
    return changed;
  }
  void requeue(const JobId& job) { detail::check(gf_queue_requeue(handle_, &job.id)); }
  std::uint64_t requeue_many(const QueueFilter& filter, std::chrono::microseconds timeout) {
    const gf_queue_filter c = filter.c_filter();
    std::uint64_t changed = 0;
    detail::check(gf_queue_requeue_many(handle_, &c, detail::microseconds(timeout), &changed));
    return changed;
  }

  void pause(bool paused = true) { detail::check(gf_queue_pause(handle_, paused ? 1 : 0)); }
  /** False: jobs still run; the queue stays paused. */
  bool drain(std::chrono::microseconds timeout) {
    const gf_status status = gf_queue_drain(handle_, detail::microseconds(timeout));
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    return true;
  }
  /** True while more is due. */
  bool sweep() {
    std::uint32_t more = 0;
    detail::check(gf_queue_sweep(handle_, &more));
    return more != 0;
  }
  gf_queue_statistics statistics() const {
    gf_queue_statistics statistics = GF_QUEUE_STATISTICS_INIT;
    detail::check(gf_queue_read_statistics(handle_, &statistics));
    return statistics;
  }
  std::string statistics_json() const { return text(gf_queue_statistics_json); }
  std::string prometheus_text() const { return text(gf_queue_prometheus_text); }
  /** Waiting and running jobs of a user. */
  std::pair<std::uint64_t, std::uint64_t> user_statistics(const std::string& user) const {
    std::pair<std::uint64_t, std::uint64_t> figures;
    detail::check(gf_queue_user_statistics(handle_, user.c_str(), &figures.first, &figures.second));
    return figures;
  }
  /** Events after the one of that sequence, which moves on. */
  std::vector<gf_queue_event> events(std::uint64_t& after,
                                     std::chrono::microseconds timeout = std::chrono::microseconds(0),
                                     std::uint64_t* out_missed = nullptr) const {
    const gf_queue_event fresh = GF_QUEUE_EVENT_INIT;
    std::vector<gf_queue_event> events(256, fresh);
    std::uint32_t count = static_cast<std::uint32_t>(events.size());
    const gf_status status =
        gf_queue_read_events(handle_, &after, detail::microseconds(timeout), &count, events.data(), out_missed);
    if (status != GF_ERR_WOULD_BLOCK && status != GF_ERR_TIMED_OUT) detail::check(status);
    events.resize(count);
    return events;
  }

 private:
  static QueueEnqueued enqueued(const gf_queue_enqueued& c) {
    QueueEnqueued out;
    out.id.id = c.id;
    out.status = static_cast<gf_status>(c.status);
    out.duplicate = c.duplicate != 0;
    out.state = static_cast<gf_queue_state>(c.state);
    return out;
  }
  std::string text(gf_status (*call)(gf_queue*, char*, std::uint64_t*)) const {
    gf_queue* const queue = handle_;
    return detail::text([queue, call](char* buffer, std::uint64_t* size) { return call(queue, buffer, size); });
  }

  gf_queue* handle_ = nullptr;
};

/** Limits of a rate limiter. */
struct RateLimits {
  Text redis_url; /**< Not set: in this process. */
  Text name_space;
  gf_rate global = {0, 0, 0};
  gf_rate per_queue = {0, 0, 0};
  gf_rate per_user = {0, 0, 0};
  std::vector<std::pair<std::string, gf_rate>> user_classes;
};

/** Token buckets. Move only; closed by its destructor. */
class RateLimiter {
 public:
  explicit RateLimiter(const RateLimits& limits) {
    with(limits, [this](const gf_rate_limiter_options& c) { return gf_rate_limiter_open(&c, &handle_); });
  }
  RateLimiter(RateLimiter&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  RateLimiter& operator=(RateLimiter&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;
  ~RateLimiter() { gf_rate_limiter_close(handle_); }

  gf_rate_limiter* handle() const noexcept { return handle_; }
  void configure(const RateLimits& limits) {
    with(limits, [this](const gf_rate_limiter_options& c) { return gf_rate_limiter_configure(handle_, &c); });
  }
  /** 0 when the tokens were taken, else how long to wait before the next try. */
  std::chrono::microseconds take(const Text& user, const Text& user_class = Text(), const Text& queue = Text(),
                                 std::uint32_t tokens = 1) {
    gf_rate_question question = GF_RATE_QUESTION_INIT;
    question.tokens = tokens;
    question.queue = queue.c_str();
    question.user = user.c_str();
    question.user_class = user_class.c_str();
    gf_rate_answer answer = GF_RATE_ANSWER_INIT;
    const gf_status status = gf_rate_limiter_take(handle_, &question, &answer);
    if (status != GF_ERR_RATE_LIMITED) detail::check(status);
    return std::chrono::microseconds(answer.retry_after_us);
  }

 private:
  template <class Call>
  void with(const RateLimits& limits, Call call) {
    gf_rate_limiter_options c = GF_RATE_LIMITER_OPTIONS_INIT;
    c.redis_url = limits.redis_url.c_str();
    c.name_space = limits.name_space.c_str();
    c.global = limits.global;
    c.per_queue = limits.per_queue;
    c.per_user = limits.per_user;
    std::vector<const char*> names;
    std::vector<gf_rate> rates;
    for (const auto& one : limits.user_classes) {
      names.push_back(one.first.c_str());
      rates.push_back(one.second);
    }
    c.class_names = names.data();
    c.class_rates = rates.data();
    c.class_count = static_cast<std::uint32_t>(names.size());
    detail::check(call(c));
  }

  gf_rate_limiter* handle_ = nullptr;
};

/** A value of a log line: text, number or truth. */
class LogValue {
 public:
  LogValue(const char* text) : LogValue(std::string(text)) {}
  LogValue(std::string text) : text_(std::move(text)) { value_.kind = GF_LOG_VALUE_TEXT; }
  LogValue(bool truth) {
    value_.kind = GF_LOG_VALUE_TRUTH;
    value_.integer = truth ? 1 : 0;
  }
  LogValue(double number) {
    value_.kind = GF_LOG_VALUE_REAL;
    value_.real = number;
  }
  LogValue(int number) : LogValue(static_cast<long long>(number)) {}
  LogValue(long number) : LogValue(static_cast<long long>(number)) {}
  LogValue(long long number) {
    value_.kind = GF_LOG_VALUE_INTEGER;
    value_.integer = number;
  }
  LogValue(unsigned number) : LogValue(static_cast<unsigned long long>(number)) {}
  LogValue(unsigned long number) : LogValue(static_cast<unsigned long long>(number)) {}
  LogValue(unsigned long long number) {
    value_.kind = GF_LOG_VALUE_NATURAL;
    value_.integer = static_cast<std::int64_t>(number);
  }

  /** Its text lives as long as this. */
  gf_log_value c() const {
    gf_log_value out = value_;
    if (out.kind == GF_LOG_VALUE_TEXT) out.text = text_.c_str();
    return out;
  }

 private:
  gf_log_value value_ = {GF_LOG_VALUE_TEXT, 0, nullptr, 0, 0};
  std::string text_;
};

/** How a logger works: what is 0 or missing is the default, as in gf_logger_options. */
struct LoggerOptions {
  gf_logger_options more =
      GF_LOGGER_OPTIONS_INIT; /**< What is not named here; callback and file_path are not looked at. */
  gf_log_level level = GF_LOG_INFO;
  /** Set: lines come here (record, module, message), on the logger's thread. What it throws ends there. */
  std::function<void(const gf_log_record&, const char*, const char*)> on_line;
  Text file_path;
  /** How long the destructor waits for the lines to be handed on. */
  std::chrono::microseconds close_timeout = std::chrono::seconds(1);
};

/** Structured logging. Move only; closed by its destructor. */
class Logger {
 public:
  using Fields = std::vector<std::pair<std::string, LogValue>>;

  explicit Logger(const LoggerOptions& options = LoggerOptions()) : close_timeout_(options.close_timeout) {
    gf_logger_options c = options.more;
    c.level = static_cast<std::uint32_t>(options.level);
    c.file_path = options.file_path.c_str();
    c.callback = nullptr;
    if (options.on_line) {
      on_line_.reset(new OnLine(options.on_line));
      c.callback = &Logger::line;
      c.user_data = on_line_.get();
    }
    detail::check(gf_logger_open(&c, &handle_));
  }
  Logger(Logger&& other) noexcept
      : handle_(other.handle_), close_timeout_(other.close_timeout_), on_line_(std::move(other.on_line_)) {
    other.handle_ = nullptr;
  }
  Logger& operator=(Logger&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(close_timeout_, other.close_timeout_);
    std::swap(on_line_, other.on_line_);
    return *this;
  }
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;
  ~Logger() { end(detail::microseconds(close_timeout_)); }

  gf_logger* handle() const noexcept { return handle_; }
  void set_level(gf_log_level level) { detail::check(gf_logger_set_level(handle_, static_cast<std::uint32_t>(level))); }
  void log(gf_log_level level, const std::string& module, const std::string& message) {
    detail::check(gf_logger_log(handle_, static_cast<std::uint32_t>(level), module.c_str(), message.c_str()));
  }
  /** With arguments the message is a format such as "{} of {}", filled in on the logger's thread. */
  void log(gf_log_level level, const std::string& module, const std::string& message,
           const std::vector<LogValue>& arguments, const Fields& fields = Fields(), const Text& traceparent = Text()) {
    std::vector<gf_log_value> values;
    for (const LogValue& argument : arguments) values.push_back(argument.c());
    std::vector<gf_log_field> named;
    for (const auto& field : fields) {
      const gf_log_field one = {field.first.c_str(), field.second.c()};
      named.push_back(one);
    }
    gf_log_line line = GF_LOG_LINE_INIT;
    line.level = static_cast<std::uint32_t>(level);
    line.module = module.c_str();
    line.message = message.c_str();
    line.arguments = values.data();
    line.argument_count = static_cast<std::uint32_t>(values.size());
    line.fields = named.data();
    line.field_count = static_cast<std::uint32_t>(named.size());
    line.traceparent = traceparent.c_str();
    detail::check(gf_logger_write(handle_, &line));
  }
  /** Takes the next line of the ring to poll. False: there is none now. */
  bool poll(gf_log_record& record, std::string& line) {
    std::uint64_t size = 0;
    gf_log_record empty = GF_LOG_RECORD_INIT;
    record = empty;
    gf_status status = gf_logger_poll(handle_, &record, nullptr, &size);
    while (status == GF_OK || status == GF_ERR_BUFFER_TOO_SMALL) {
      line.resize(static_cast<std::size_t>(size));
      status = gf_logger_poll(handle_, &record, &line[0], &size);
      if (status != GF_OK) continue;  // Another thread took the line that was asked for.
      line.resize(static_cast<std::size_t>(size) - 1);
      return true;
    }
    if (status != GF_ERR_WOULD_BLOCK) detail::check(status);
    return false;
  }
  /** False: the time was over first. */
  bool flush(std::chrono::microseconds timeout) {
    const gf_status status = gf_logger_flush(handle_, detail::microseconds(timeout));
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    return true;
  }
  gf_logger_statistics statistics() const {
    gf_logger_statistics out = GF_LOGGER_STATISTICS_INIT;
    detail::check(gf_logger_read_statistics(handle_, &out));
    return out;
  }
  /** False: not all was handed on in time. The logger is closed all the same. */
  bool close(std::chrono::microseconds timeout) {
    const gf_status status = end(detail::microseconds(timeout));
    if (status == GF_ERR_TIMED_OUT) return false;
    detail::check(status);
    return true;
  }

 private:
  using OnLine = std::function<void(const gf_log_record&, const char*, const char*)>;

  static void line(void* self, const gf_log_record* record, const char* module, const char* message) {
    try {
      (*static_cast<OnLine*>(self))(*record, module, message);
    } catch (...) {
    }
  }
  gf_status end(std::int64_t timeout_us) noexcept {
    if (handle_ == nullptr) return GF_OK;
    const gf_status status = gf_logger_close(handle_, timeout_us);
    if (status == GF_ERR_WRONG_STATE || status == GF_ERR_INVALID_ARGUMENT) return status;  // Still open.
    handle_ = nullptr;
    // The function may still be running: what it uses is left to it.
    if (status == GF_ERR_TIMED_OUT) static_cast<void>(on_line_.release());
    return status;
  }

  gf_logger* handle_ = nullptr;
  std::chrono::microseconds close_timeout_;
  std::unique_ptr<OnLine> on_line_;
};

/** Which of ten thousand errors matter. Move only; ended by its destructor. */
class ErrorAggregator {
 public:
  ErrorAggregator() { detail::check(gf_aggregator_open(nullptr, &handle_)); }
  explicit ErrorAggregator(const gf_aggregator_options& options) {
    detail::check(gf_aggregator_open(&options, &handle_));
  }
  ErrorAggregator(ErrorAggregator&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  ErrorAggregator& operator=(ErrorAggregator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ErrorAggregator(const ErrorAggregator&) = delete;
  ErrorAggregator& operator=(const ErrorAggregator&) = delete;
  ~ErrorAggregator() { gf_aggregator_close(handle_); }

  gf_aggregator* handle() const noexcept { return handle_; }
  void record(const gf_error_report& report) { detail::check(gf_aggregator_record(handle_, &report)); }
  void set_version(const std::string& version) { detail::check(gf_aggregator_set_version(handle_, version.c_str())); }
  std::string top_json(std::chrono::microseconds window, std::uint32_t count) const {
    gf_aggregator* const aggregator = handle_;
    const std::int64_t window_us = detail::microseconds(window);
    return detail::text([=](char* buffer, std::uint64_t* size) {
      return gf_aggregator_top_json(aggregator, window_us, count, buffer, size);
    });
  }
  std::string report_json() const {
    gf_aggregator* const aggregator = handle_;
    return detail::text(
        [=](char* buffer, std::uint64_t* size) { return gf_aggregator_report_json(aggregator, buffer, size); });
  }
  /** Takes the next alert. False: there is none now. */
  bool poll_alert_json(std::string& alert) {
    std::uint64_t size = 0;
    gf_status status = gf_aggregator_poll_alert_json(handle_, nullptr, &size);
    while (status == GF_OK || status == GF_ERR_BUFFER_TOO_SMALL) {
      alert.resize(static_cast<std::size_t>(size));
      status = gf_aggregator_poll_alert_json(handle_, &alert[0], &size);
      if (status != GF_OK) continue;  // Another thread took the one that was asked for.
      alert.resize(static_cast<std::size_t>(size) - 1);
      return true;
    }
    if (status != GF_ERR_WOULD_BLOCK) detail::check(status);
    return false;
  }

 private:
  gf_aggregator* handle_ = nullptr;
};

}  // namespace gameforge

#endif /* GAMEFORGE_GAMEFORGE_HPP */
