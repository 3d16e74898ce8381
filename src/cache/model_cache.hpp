// The model cache: what is loaded, in tiers (device, host, file), loaded once though several want it, and given up by
// what it costs to load again.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "cache/eviction.hpp"
#include "cache/ledger.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::cache {

enum class EntryKind : std::uint32_t { model = 0, part = 1, lora = 2, vae = 3, text_encoder = 4, embedding = 5 };
std::string_view name_of(EntryKind kind);

enum class Tier : std::uint32_t { file = 0, host = 1, device = 2 };
std::string_view name_of(Tier tier);

/// Something loaded: what it is, is its carrier's business.
struct Loaded {
  std::shared_ptr<void> payload;  ///< Unloaded with its last share.
  std::uint64_t bytes = 0;        ///< That it holds of its tier. 0: what the ledger counted while it was loaded.
  /// What it holds of the device now, where use changes that; asked when nobody uses it any more, under the cache's
  /// lock: it takes none and does not throw. Empty: it stays as it was loaded.
  std::function<std::uint64_t()> bytes_now = {};
};

/// Loads and moves one entry. Called on the thread that wants it, one call at a time for an entry, under no lock. A
/// call that fails leaves nothing behind. A demotion keeps the payload that it is given as it is.
class EntryCarrier {
 public:
  using Cancelled = std::function<bool()>;
  virtual ~EntryCarrier() = default;
  /// From its files onto the device. Ends with Status::cancelled soon after `cancelled` answers true.
  virtual Result<Loaded> load(const Cancelled& cancelled) = 0;
  /// Whether it can wait in host memory. Then the two below are called as well.
  virtual bool has_host_tier() const { return false; }
  virtual Result<Loaded> to_host(const std::shared_ptr<void>& on_device);
  virtual Result<Loaded> to_device(const std::shared_ptr<void>& on_host, const Cancelled& cancelled);
};

struct EntrySpec {
  std::string key;  ///< Unique: a model's folder, a LoRA's file, embedding_key().
  EntryKind kind = EntryKind::model;
  std::shared_ptr<EntryCarrier> carrier;  ///< Shared with the cache.
  /// What it will hold of the device; 0: not known before it was loaded once.
  std::uint64_t bytes = 0;
  /// It is loaded as it is used, part by part: nothing is asked for beforehand.
  bool loads_on_use = false;
  /// The entry that its payload keeps alive, by key: that one goes only together with this one. Empty: none.
  std::string stands_on = {};
  /// Whether the carrier, or the backend behind it, charges the ledger. Else the cache does.
  bool charged_by_carrier = true;
  /// Pinned while it is true, besides pin(): for owners that may not wait for the cache's lock. Empty: never.
  std::shared_ptr<const std::atomic<bool>> pinned = {};
};

struct ModelCacheOptions {
  std::shared_ptr<Ledger> ledger;  ///< Shared with those who charge it.
  std::uint32_t device = 0;
  std::uint32_t host_device = 0;     ///< The ledger's number of the host; the same as `device`: no host tier.
  std::uint64_t host_bytes = 0;      ///< The most that entries hold in the host tier; 0: there is none.
  std::uint64_t most_bytes = 0;      ///< Of idle and used entries on the device; 0: as the ledger allows.
  std::int64_t idle_us = INT64_MAX;  ///< How long what nobody uses is kept: trim() ends it. 0: not at all.
  std::vector<KeepValue> policy = default_keep_values();
  const Clock* clock = nullptr;  ///< nullptr: system_clock(). Must outlive the cache.
};

/// Counts since it was made, and what is there now.
struct ModelCacheStatistics {
  std::uint64_t hits = 0;
  std::uint64_t host_hits = 0;  ///< That came back from the host tier.
  std::uint64_t loads = 0;      ///< From files.
  std::uint64_t failed_loads = 0;
  std::uint64_t waits = 0;  ///< Who waited for somebody else's load.
  std::uint64_t evictions = 0;
  std::uint64_t evicted_bytes = 0;
  std::uint64_t demotions = 0;
  std::uint64_t refusals = 0;  ///< Admissions that were refused before anything was loaded.
  std::int64_t load_us = 0;    ///< Time in loads and moves to the device.
  std::uint64_t entries = 0;   ///< On the device, as the following.
  std::uint64_t bytes = 0;
  std::uint64_t in_use = 0;
  std::uint64_t idle_bytes = 0;
  std::uint64_t pinned = 0;
  std::uint64_t host_entries = 0;
  std::uint64_t host_tier_bytes = 0;
};

/// One entry, as it is now.
struct EntryInfo {
  std::string key;
  EntryKind kind = EntryKind::model;
  Tier tier = Tier::file;
  std::uint64_t bytes = 0;
  std::uint32_t users = 0;
  bool pinned = false;
  std::int64_t reload_us = 0;
};

/// Threads: any, for every function. Its lock is never held while something is loaded, moved or dropped; executors take
/// it, so that no call of the host may.
class EnhancedModelCache final : public Reclaimer, public std::enable_shared_from_this<EnhancedModelCache> {
  struct Entry;

 public:
  using Cancelled = EntryCarrier::Cancelled;

  /// A use of an entry, counted while it lives. It keeps the cache alive. Threads: as its owner's.
  class Handle {
   public:
    Handle() = default;
    Handle(Handle&& other) noexcept = default;
    Handle& operator=(Handle&& other) noexcept;
    ~Handle() { reset(); }

    explicit operator bool() const { return entry_ != nullptr; }
    /// What the carrier gave, as long as the handle lives.
    template <class T>
    T& as() const {
      return *static_cast<T*>(payload_.get());
    }
    const std::shared_ptr<void>& payload() const { return payload_; }
    /// Whether this use found it on the device.
    bool was_hit() const { return was_hit_; }
    void reset() noexcept;

   private:
    friend class EnhancedModelCache;
    std::shared_ptr<EnhancedModelCache> cache_;
    std::shared_ptr<Entry> entry_;
    std::shared_ptr<void> payload_;
    bool was_hit_ = false;
  };

  /// Registers itself with the ledger as one who gives back. Errors: invalid_argument.
  static Result<std::shared_ptr<EnhancedModelCache>> create(ModelCacheOptions options);
  ~EnhancedModelCache() override;

  /// Gives the entry on the device, loading it if need be, or waiting for whoever loads it now. When that one fails,
  /// all who waited get its error; when that one was cancelled, the next of them loads. `cancelled` is asked whenever
  /// wake() is called, and ends a wait with Status::cancelled. Errors: over_budget, before anything was loaded or
  /// evicted, when it cannot fit beside what is in use (fields needed_bytes, free_bytes, evictable_bytes, limit_bytes);
  /// the carrier's.
  Result<Handle> acquire(const EntrySpec& spec, const Cancelled& cancelled);
  /// Loads it for later, if it fits: nobody uses it then, and it goes like any other.
  Result<void> prefetch(const EntrySpec& spec, const Cancelled& cancelled);
  void wake() noexcept;

  /// What is pinned stays, used or not, until it is unpinned or evicted by name. Also before it is loaded.
  void pin(std::string_view key, bool pinned);
  /// Lets it go: at once when nobody uses it, else with its last use, while whoever asks for it meanwhile gets another
  /// one. False: it is in no tier.
  bool evict(std::string_view key) noexcept;
  /// Like evict, for what is not to be trusted any more (a corrupt file): also what was learnt of it.
  bool quarantine(std::string_view key) noexcept;
  /// Moves an idle entry to the host tier. False: it is not idle, or has no place there (then it was dropped if
  /// `or_drop`).
  bool demote(std::string_view key, bool or_drop) noexcept;
  /// Ends what was idle for longer than idle_us; answers how many bytes went.
  std::uint64_t trim() noexcept;
  /// Everything idle, pinned or not, from both tiers.
  std::uint64_t clear() noexcept;

  std::uint64_t reclaim(std::uint32_t device, std::uint64_t bytes) noexcept override;
  std::uint64_t reclaimable(std::uint32_t device) const noexcept override;

  ModelCacheStatistics statistics() const;
  /// As statistics(), for calls of the host: where the cache is busy, what it was at the last such call.
  ModelCacheStatistics glance() const;
  std::vector<EntryInfo> entries() const;

 private:
  /// One attempt at loading; those who wait for it share it.
  struct Attempt {
    bool over = false;
    std::optional<Error> error{};  // Empty also when it was cancelled: then another one tries.
  };
  using Lock = std::unique_lock<std::mutex>;

  explicit EnhancedModelCache(ModelCacheOptions options);

  std::shared_ptr<Entry> entry_of(const EntrySpec& spec);
  Result<void> admit(Lock& lock, const Entry& entry, std::uint64_t bytes, const Cancelled& cancelled);
  Result<Loaded> bring(Lock& lock, const std::shared_ptr<Entry>& entry, const EntrySpec& spec,
                       const Cancelled& cancelled);
  Result<Loaded> fetch(const Entry& entry, const EntrySpec& spec, const std::shared_ptr<void>& on_host,
                       const Cancelled& cancelled);
  Handle use(const std::shared_ptr<Entry>& entry, bool was_hit);
  void release(Entry& entry) noexcept;
  void count_anew(Entry& entry) noexcept;
  std::uint64_t room(std::uint64_t reserved) const noexcept;
  std::uint64_t capacity() const noexcept;

  bool is_evictable(const Entry& entry) const noexcept;
  ModelCacheStatistics counted() const;
  void mark_stood_on() const noexcept;
  std::uint64_t evictable_bytes() const noexcept;
  std::vector<std::shared_ptr<Entry>> victims(std::uint64_t missing, const Entry* spared) const;
  std::uint64_t drop(Lock& lock, std::span<const std::shared_ptr<Entry>> gone, bool may_demote) noexcept;
  bool move_to_host(Lock& lock, Entry& entry) noexcept;
  void drop_from_host(Lock& lock, Entry& entry) noexcept;

  const ModelCacheOptions options_;
  Ledger& ledger_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_, all of the following.
  std::map<std::string, std::shared_ptr<Entry>, std::less<>> entries_;
  std::map<std::uint64_t, std::shared_ptr<Entry>> by_number_;
  EvictionPolicy policy_;
  std::uint64_t next_number_ = 1;
  std::uint64_t admitted_ = 0;  // Bytes of loads that have begun and not ended.
  std::uint32_t leaving_ = 0;   // Entries whose memory is being given back.
  std::uint64_t device_bytes_ = 0;
  std::uint64_t host_bytes_ = 0;
  ModelCacheStatistics counts_;

  mutable std::mutex glance_mutex_;           // Taken by glance() alone.
  mutable ModelCacheStatistics last_glance_;  // Guarded by glance_mutex_.
};

/// The key of an encoded prompt: what it was made from, and nothing else. `loras`: each with its scale and the stamp of
/// its file, in any order.
std::string embedding_key(std::string_view model, std::vector<std::string> loras, std::uint32_t clip_skip,
                          const std::vector<std::string>& texts);

}  // namespace gf::cache
