#include "host.hpp"

#include "files.hpp"
#include "progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace command {
namespace {

volatile std::sig_atomic_t interrupt_seen = 0;

void on_interrupt(int) { interrupt_seen = 1; }

void on_log(void*, const gf_log_record* record, const char* module, const char* message) {
  static constexpr const char* names[] = {"", "error", "warning", "info", "debug"};
  (void)std::fprintf(stderr, "gameforge: %s: %s: %s\n", record->level < 5 ? names[record->level] : "log", module,
                     message);
}

constexpr std::int64_t look_around_us = 100'000;  // How late Ctrl-C may be noticed.
constexpr std::int64_t close_timeout_us = 10'000'000;

}  // namespace

void check(gf_status status) {
  if (status != GF_OK) throw Failure{static_cast<std::uint32_t>(status), gf_last_error_message()};
}

std::string text_of(const std::function<gf_status(char*, std::uint64_t*)>& read) {
  std::uint64_t size = 0;
  check(read(nullptr, &size));
  std::string text;
  for (;;) {
    text.resize(size);
    const auto status = read(text.data(), &size);
    if (status == GF_ERR_BUFFER_TOO_SMALL) continue;  // It grew between the calls.
    check(status);
    text.resize(size > 0 ? size - 1 : 0);  // The NUL is counted.
    return text;
  }
}

Json json_of(const std::function<gf_status(char*, std::uint64_t*)>& read) { return Json::parse(text_of(read)); }

void print_json(const Json& value) {
  const auto line = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::printf("%s\n", line.c_str());
}

std::string readable(const Json& value, int indent) {
  const auto plain = [](const Json& item) {
    return item.is_string() ? item.get<std::string>() : item.dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  std::string text;
  if (value.is_array()) {
    for (const auto& item : value) {
      if (!item.is_structured()) {
        text += margin + plain(item) + "\n";
        continue;
      }
      auto lines = readable(item, indent + 2);
      if (!lines.empty()) lines[static_cast<std::size_t>(indent)] = '-';
      text += lines;
    }
    return text;
  }
  if (!value.is_object()) return margin + plain(value) + "\n";
  for (const auto& [key, item] : value.items()) {
    if (!item.is_structured() || item.empty()) {
      text += fmt::format("{}{}: {}\n", margin, key, item.empty() ? "none" : plain(item));
    } else if (item.is_array() &&
               std::none_of(item.begin(), item.end(), [](const Json& i) { return i.is_structured(); })) {
      std::string joined;
      for (const auto& i : item) joined += (joined.empty() ? "" : ", ") + plain(i);
      text += fmt::format("{}{}: {}\n", margin, key, joined);
    } else {
      text += fmt::format("{}{}:\n{}", margin, key, readable(item, indent + 2));
    }
  }
  return text;
}

std::string without_passwords(std::string text) {
  for (auto at = text.find("://"); at != std::string::npos; at = text.find("://", at)) {
    at += 3;
    const auto end = std::min(text.find_first_of(" \t\n", at), text.size());
    const auto sign = text.rfind('@', end);
    if (sign == std::string::npos || sign < at) continue;
    const auto colon = text.find(':', at);
    if (colon < sign) text.replace(colon + 1, sign - colon - 1, "***");
  }
  constexpr std::string_view parameter = "password=";
  for (auto at = text.find(parameter); at != std::string::npos; at = text.find(parameter, at)) {
    at += parameter.size();
    text.replace(at, std::min(text.find_first_of("& \t\n", at), text.size()) - at, "***");
  }
  return text;
}

gf_image_info Image::describe() const {
  gf_image_info info = GF_IMAGE_INFO_INIT;
  check(gf_image_describe(image_, &info));
  return info;
}

void EngineChoice::add_to(CLI::App& app, bool with_model) {
  if (with_model) {
    app.add_option("--model", model, "A model: its name in the model folders, or the path of a diffusers folder")
        ->capture_default_str()
        ->type_name("DIR");
  }
  app.add_option("--threads", threads, "Threads to compute on; as many as there are cores if it is not given")
      ->type_name("N");
  app.add_option("--config", config, "A TOML file with the engine's options; GAMEFORGE_* variables override it")
      ->type_name("FILE");
}

EngineSetup::EngineSetup(const EngineChoice& choice) : model_(choice.model), options_ GF_ENGINE_OPTIONS_INIT {
  check(gf_config_load(choice.config.empty() ? nullptr : choice.config.c_str(), 1, &config_));
  try {
    check(gf_config_read(config_, &options_));
    for (std::uint32_t i = 0; i < options_.model_folder_count; ++i) folders_.emplace_back(options_.model_folders[i]);
    for (auto& folder : standard_model_folders()) folders_.push_back(std::move(folder));

    if (is_model_path(model_, folders_)) {
      model_ = std::filesystem::absolute(model_).lexically_normal().string();
      while (model_.size() > 1 && model_.back() == '/') model_.pop_back();
      options_.allow_model_paths = 1;
    }
    for (const auto& folder : folders_) folder_texts_.push_back(folder.c_str());
    options_.model_folders = folder_texts_.data();
    options_.model_folder_count = static_cast<std::uint32_t>(folder_texts_.size());
    if (choice.threads) options_.thread_count = given_or_default(choice.threads, "threads", 256);
    options_.log_callback = on_log;
  } catch (...) {
    gf_config_release(config_);
    throw;
  }
}

Engine::Engine(const EngineChoice& choice) : setup_(choice) {
  command::check(gf_engine_open(&setup_.options(), &engine_));
}

Engine::~Engine() { gf_engine_close(engine_, close_timeout_us); }

Json Engine::model_info() const {
  return json_of(
      [&](char* buffer, std::uint64_t* size) { return gf_model_info_json(engine_, model().c_str(), buffer, size); });
}

Engine::Finished Engine::wait(const gf_job_id& job) {
  Progress progress;
  bool asked = false;
  Finished finished{job, GF_JOB_INFO_INIT};
  for (bool over = false; !over;) {
    gf_event event = GF_EVENT_INIT;
    const auto status = gf_engine_wait_event(engine_, look_around_us, &event);
    if (status != GF_OK && status != GF_ERR_TIMED_OUT) command::check(status);
    if (interrupted() && !asked) {
      asked = true;
      command::check(gf_job_cancel(engine_, &job, GF_CANCEL_NOW));
    }
    if (status != GF_OK || event.job.high != job.high || event.job.low != job.low) continue;
    progress.show(event);
    over = event.type == GF_EVENT_DONE || event.type == GF_EVENT_FAILED || event.type == GF_EVENT_CANCELLED ||
           event.type == GF_EVENT_REJECTED;
  }
  progress.clear();
  command::check(gf_job_status(engine_, &job, &finished.info));
  return finished;
}

Engine::Finished Engine::run(const gf_request& request) {
  gf_job_id job{};
  command::check(gf_engine_submit(engine_, &request, &job));
  return wait(job);
}

Engine::Finished Engine::load() {
  gf_job_id job{};
  command::check(gf_model_load_ahead(engine_, model().c_str(), 0, &job));
  return wait(job);
}

void Engine::check(const Finished& finished) const {
  if (finished.info.status == GF_OK) return;
  const auto error = json_of(
      [&](char* buffer, std::uint64_t* size) { return gf_job_error_json(engine_, &finished.job, buffer, size); });
  throw Failure{
      finished.info.status,
      error.value("message", std::string(finished.info.status == GF_ERR_CANCELLED ? "the job was cancelled" : ""))};
}

Image Engine::image(const gf_job_id& job, std::uint32_t index) const {
  gf_image* image = nullptr;
  command::check(gf_job_image(engine_, &job, index, &image));
  return Image(image);
}

Json Engine::report(const gf_job_id& job) const {
  return json_of([&](char* buffer, std::uint64_t* size) { return gf_job_report_json(engine_, &job, buffer, size); });
}

std::uint32_t given_or_default(const std::optional<std::uint32_t>& given, const char* option, std::uint32_t largest) {
  if (!given) return 0;
  if (*given < 1 || *given > largest) {
    throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("--{} is {}; it must be 1 to {}", option, *given, largest)};
  }
  return *given;
}

void install_interrupt() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // The second one ends the command, whatever it is doing.
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return interrupt_seen != 0; }

namespace {

std::uint64_t status_bytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(field)) continue;
    std::uint64_t kib = 0;
    std::istringstream(line.substr(field.size())) >> kib;
    return kib * 1024;
  }
  return 0;
}

}  // namespace

// Not getrusage: its figure begins with that of the process that started this one (fork and exec carry it over).
std::uint64_t peak_resident_bytes() { return status_bytes("VmHWM:"); }
std::uint64_t resident_bytes() { return status_bytes("VmRSS:"); }

bool forget_peak_resident_bytes() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << '5';  // proc_pid_clear_refs(5): the peak becomes what is resident now.
  return clear.flush().good();
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace command
