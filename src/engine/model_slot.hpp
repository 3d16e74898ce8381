// A model's place in memory: loaded once though several jobs want it, given back when nobody holds it any more.
#pragma once

#include "base/result.hpp"
#include "pipeline/backend_library.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace gf::engine {

/// One model folder of one engine. The engine's table and the jobs that want the model share it.
///
/// Threads: any. Its lock is taken by executors and the intake thread, never by a call of the host: what the host reads
/// are the two flags.
class ModelSlot {
 public:
  using Model = std::shared_ptr<pipeline::BackendModel>;

  ModelSlot(std::string name, std::string path) : name_(std::move(name)), path_(std::move(path)) {}

  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }

  std::atomic<bool> loaded{false};
  std::atomic<bool> pinned{false};

  /// Gives the model, loading it with `load` if need be, or waiting for whoever loads it now. When that one fails, all
  /// who waited get its error; when that one was cancelled, the next of them loads. `cancelled` is asked whenever
  /// wake() is called, and ends the wait with Status::cancelled.
  Result<Model> acquire(const std::function<bool()>& cancelled, const std::function<Result<Model>()>& load);

  /// Makes who waits in acquire ask again whether it is cancelled.
  void wake();

  /// Lets the model go; jobs that hold it keep it alive. The caller destroys what it gets, which takes a while.
  Model drop();

 private:
  /// One attempt at loading; those who wait for it share it.
  struct Attempt {
    bool over = false;
    std::optional<Error> error;  // Empty also when it was cancelled: then another one tries.
  };

  void end(Attempt& attempt, std::optional<Error> error, Model model);

  const std::string name_;
  const std::string path_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Model model_;                       // Guarded by mutex_.
  std::shared_ptr<Attempt> loading_;  // Guarded by mutex_, its contents too.
};

}  // namespace gf::engine
