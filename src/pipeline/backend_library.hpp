// The backend: a shared object that is opened late, checked before it is believed, and fenced in so that nothing it
// does but crash can harm the engine.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "cache/ledger.hpp"
#include "pipeline/backend_abi.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gf::pipeline {

/// Where the backend is looked for when the host names no path: beside the library.
std::string default_backend_path();

/// A shared object that passed its checks. Opened once a process and path, and never closed: threads and thread-locals
/// of what it links may outlive any engine. Threads: any.
class BackendLibrary {
 public:
  /// Opens by absolute path, RTLD_NOW and RTLD_LOCAL, and compares versions before any other symbol is looked at.
  /// Errors: backend_missing (no such file, or one that it needs; the linker's words), backend_version_clash (both
  /// versions), symbol_clash (a symbol that it needs is another library's). A failure is not remembered.
  static Result<std::shared_ptr<const BackendLibrary>> open(const std::string& path);

  const std::string& path() const { return path_; }
  gf_backend_entry_function entry() const { return entry_; }
  /// Whether a libtorch was in the process before this was opened, the host's own as a rule.
  bool came_second() const { return came_second_; }

 private:
  BackendLibrary() = default;

  std::string path_;
  gf_backend_entry_function entry_ = nullptr;
  bool came_second_ = false;
};

/// Whom one call into the backend asks and tells. Functions may be called on any thread of the backend.
class CallWatcher {
 public:
  virtual ~CallWatcher() = default;
  virtual bool cancelled() const noexcept = 0;
  virtual void progress(std::uint32_t stage, std::uint64_t done, std::uint64_t total) noexcept = 0;
  /// GF_BACKEND_THRIFT_ bits, as they are when a call begins.
  virtual std::uint32_t thrift() const noexcept { return 0; }
};

class BackendModel;
class BackendConditioning;
class BackendRun;

/// What an instance of the backend is given. All must outlive it.
struct BackendHost {
  LogSink* log = nullptr;
  cache::Ledger* ledger = nullptr;
  const Clock* clock = nullptr;
};

/// One instance of a backend, with the host's table that it was given. Every call answers with a Result: a status that
/// it returns, an exception that it throws and an output that it forgot all become errors. Threads: any.
class Backend : public std::enable_shared_from_this<Backend> {
 public:
  /// Errors: those of the backend's entry; backend_version_clash when its table is shorter than ours.
  static Result<std::shared_ptr<Backend>> create(std::shared_ptr<const BackendLibrary> library,
                                                 const BackendHost& host);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  /// Errors: the backend's.
  Result<std::shared_ptr<BackendModel>> load(const std::string& folder, std::uint32_t threads, CallWatcher& watcher);

  std::string name() const;
  std::string version() const;
  /// What it is linked with, as JSON text; "{}" when it does not tell.
  std::string build_json() const;
  gf_backend_statistics statistics() const;
  const BackendLibrary& library() const { return *library_; }

 private:
  friend class BackendModel;
  friend class BackendConditioning;
  friend class BackendRun;
  struct HostTable;

  Backend() = default;

  std::shared_ptr<const BackendLibrary> library_;
  std::unique_ptr<HostTable> host_;
  gf_backend* backend_ = nullptr;
};

/// A loaded model, unloaded with its last share: engine's table and the jobs that run on it share it. Threads: any.
class BackendModel : public std::enable_shared_from_this<BackendModel> {
 public:
  ~BackendModel();
  BackendModel(const BackendModel&) = delete;
  BackendModel& operator=(const BackendModel&) = delete;

  /// As of its load.
  const gf_backend_model_info& info() const { return info_; }
  /// That it holds now. Takes no lock.
  std::uint64_t weight_bytes() const noexcept;
  Backend& backend() const { return *backend_; }

  Result<std::shared_ptr<BackendConditioning>> encode(const gf_backend_encode_request& request, std::uint32_t threads,
                                                      CallWatcher& watcher);
  Result<std::unique_ptr<BackendRun>> start(std::shared_ptr<BackendConditioning> conditioning,
                                            const gf_backend_run_request& request, std::uint32_t threads,
                                            CallWatcher& watcher);

 private:
  friend class Backend;
  friend class BackendConditioning;
  friend class BackendRun;
  BackendModel() = default;

  /// While it lives, what the thread takes from the ledger is this model's, in that stage.
  cache::MemoryTag counts_as(cache::MemoryStage stage) const;

  std::shared_ptr<Backend> backend_;
  cache::Ledger::Owner* owner_ = nullptr;  // The ledger's, by the model's folder.
  gf_backend_model* model_ = nullptr;
  gf_backend_model_info info_{};
};

/// Encoded prompts; runs share it, since it must outlive them.
class BackendConditioning {
 public:
  ~BackendConditioning();
  BackendConditioning(const BackendConditioning&) = delete;
  BackendConditioning& operator=(const BackendConditioning&) = delete;

  /// What the job's report should say of it.
  std::vector<std::string> warnings() const;
  gf_backend_conditioning_info info() const;

 private:
  friend class BackendModel;
  BackendConditioning() = default;

  std::shared_ptr<BackendModel> model_;
  gf_backend_conditioning* conditioning_ = nullptr;
};

/// One image in the making. Not synchronised; the executor that started it owns it.
class BackendRun {
 public:
  ~BackendRun();
  BackendRun(const BackendRun&) = delete;
  BackendRun& operator=(const BackendRun&) = delete;

  /// Does a step; the answer is how many are left.
  Result<std::uint32_t> step(std::uint32_t threads, CallWatcher& watcher);
  /// Gives back the model's parts, but for what the next step needs unless that goes too. The next call reads them
  /// again.
  void rest(bool keep_next) noexcept;
  Result<void> decode(std::uint32_t threads, CallWatcher& watcher, std::span<std::uint8_t> pixels);
  Result<void> latents(std::span<float> values);

 private:
  friend class BackendModel;
  BackendRun() = default;

  std::shared_ptr<BackendModel> model_;
  std::shared_ptr<BackendConditioning> conditioning_;
  gf_backend_run* run_ = nullptr;
};

}  // namespace gf::pipeline
