// What every command needs of the C ABI: failures as one type, handles that release themselves, an engine that is set
// up from the options, and the wait for a job.
#pragma once

#include <gameforge/gameforge.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace command {

using Json = nlohmann::json;

/// Why a command ends early. Thrown, since a command has one place that answers: main.
struct Failure {
  std::uint32_t status = GF_ERR_INTERNAL;  ///< gf_status.
  std::string message;
  Json details = Json::object();  ///< What --json tells beside the error.
};

/// For what the command line asks and cannot be.
inline Failure wrong(std::string message) { return {GF_ERR_INVALID_ARGUMENT, std::move(message)}; }

/// Throws the last error of this thread unless `status` is GF_OK.
void check(gf_status status);

/// The text of a function of the form (char* buffer, uint64_t* size).
std::string text_of(const std::function<gf_status(char*, std::uint64_t*)>& read);

/// The same as JSON.
Json json_of(const std::function<gf_status(char*, std::uint64_t*)>& read);

/// One line of JSON on standard output. Text that is not UTF-8, such as an odd file name, is replaced.
void print_json(const Json& value);

/// A JSON value as indented lines for people, each ended by a line feed.
std::string readable(const Json& value, int indent);

/// A text in which the password of every URL, in front of its @ or as a parameter, is replaced by ***.
std::string without_passwords(std::string text);

/// A counted image.
class Image {
 public:
  explicit Image(gf_image* image = nullptr) : image_(image) {}
  Image(Image&& other) noexcept : image_(std::exchange(other.image_, nullptr)) {}
  Image& operator=(Image&& other) noexcept {
    std::swap(image_, other.image_);
    return *this;
  }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() { gf_image_release(image_); }

  gf_image* get() const { return image_; }
  gf_image_info describe() const;

 private:
  gf_image* image_;
};

/// Options that every command with an engine has.
struct EngineChoice {
  std::string model = "gameforge-tiles";
  std::optional<std::uint32_t> threads;
  std::string config;

  void add_to(CLI::App& app, bool with_model);
};

/// The engine's options with what they point to.
class EngineSetup {
 public:
  /// Reads the configuration and the environment, then lays the command's own options over them.
  explicit EngineSetup(const EngineChoice& choice);
  EngineSetup(const EngineSetup&) = delete;
  EngineSetup& operator=(const EngineSetup&) = delete;
  ~EngineSetup() { gf_config_release(config_); }

  const gf_engine_options& options() const { return options_; }
  /// The model as a request names it: a name, or an absolute path.
  const std::string& model() const { return model_; }

 private:
  gf_config* config_ = nullptr;
  std::vector<std::string> folders_;
  std::vector<const char*> folder_texts_;
  std::string model_;
  gf_engine_options options_;
};

/// An open engine.
class Engine {
 public:
  explicit Engine(const EngineChoice& choice);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  gf_engine* get() const { return engine_; }
  const std::string& model() const { return setup_.model(); }
  Json model_info() const;

  /// Hands in a request, shows its progress, and gives how it ended. Ctrl-C cancels it.
  struct Finished {
    gf_job_id job{};
    gf_job_info info{};
  };
  Finished run(const gf_request& request);
  Finished load();
  /// Throws why a job failed, was rejected or cancelled, if it did.
  void check(const Finished& finished) const;

  Image image(const gf_job_id& job, std::uint32_t index) const;
  Json report(const gf_job_id& job) const;

 private:
  Finished wait(const gf_job_id& job);

  EngineSetup setup_;
  gf_engine* engine_ = nullptr;
};

/// A number that was given must lie in its range; one that was not is the library's default, 0. Checked here, because
/// the ABI takes a 0 for "the default", which is not what somebody who types 0 means.
std::uint32_t given_or_default(const std::optional<std::uint32_t>& given, const char* option, std::uint32_t largest);

/// Makes Ctrl-C (and a polite end by SIGTERM) cancel what runs; the second one ends the command.
void install_interrupt();
bool interrupted();

/// The most memory that the process has held, bytes; 0 when unknown.
std::uint64_t peak_resident_bytes();
/// What it holds now.
std::uint64_t resident_bytes();
/// From now on the peak counts from what is held now; false where the system does not offer that.
bool forget_peak_resident_bytes();

/// Seconds of a monotonic clock.
double seconds_now();

}  // namespace command
