// A model's place in an engine: what the host reads of it without a lock, and the way to the cache that loads it.
#pragma once

#include "base/result.hpp"
#include "cache/model_cache.hpp"
#include "pipeline/backend_library.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gf::engine {

/// One model folder of one engine. The engine's table, the jobs that want the model and the cache share it.
///
/// Threads: any. The cache's lock is taken by executors and the intake thread, never by a call of the host: what the
/// host reads are atomics.
class ModelSlot : public std::enable_shared_from_this<ModelSlot> {
 public:
  /// A use of the loaded model. Conditionings and runs of it are gone before it is.
  class Model {
   public:
    pipeline::BackendModel& operator*() const { return *handle_.as<Loaded>().model; }
    pipeline::BackendModel* operator->() const { return handle_.as<Loaded>().model.get(); }

   private:
    friend class ModelSlot;
    explicit Model(cache::EnhancedModelCache::Handle handle) : handle_(std::move(handle)) {}
    cache::EnhancedModelCache::Handle handle_;
  };
  using Load = std::function<Result<std::shared_ptr<pipeline::BackendModel>>()>;

  /// The cache outlives the slot: both are the engine's.
  ModelSlot(std::string name, std::string path, cache::EnhancedModelCache& cache)
      : name_(std::move(name)), path_(std::move(path)), cache_(cache) {}

  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }

  std::atomic<bool> pinned{false};
  bool is_loaded() const { return loaded_ != 0; }
  /// It counts as not loaded from now on; whether it was.
  bool take_loaded() { return loaded_.exchange(0) != 0; }

  /// Gives the model, loading it with `load` if need be, or waiting for whoever loads it now; see
  /// cache::EnhancedModelCache::acquire.
  /// in_parts: `load` takes no weights yet, which are read as they are used.
  Result<Model> acquire(const std::function<bool()>& cancelled, const Load& load, bool in_parts);

  /// Makes who waits in acquire ask again whether it is cancelled.
  void wake() { cache_.wake(); }

  /// Lets the model go; jobs that use it keep it alive. Takes a while where nobody does.
  void drop() { (void)cache_.evict(path_); }

 private:
  /// What the cache keeps. With it goes the mark that the model is loaded, if it is still its own.
  struct Loaded {
    ~Loaded();
    std::shared_ptr<ModelSlot> slot;
    std::uint64_t generation = 0;
    std::shared_ptr<pipeline::BackendModel> model;
  };
  class Carrier;

  const std::string name_;
  const std::string path_;
  cache::EnhancedModelCache& cache_;
  std::atomic<std::uint64_t> loaded_{0};  // Which load it is that is there; 0: none.
  std::atomic<std::uint64_t> loads_{0};
};

}  // namespace gf::engine
