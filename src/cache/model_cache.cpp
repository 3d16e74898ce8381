#include "cache/model_cache.hpp"

#include "base/sha256.hpp"
#include "cache/memory_scope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace gf::cache {
namespace {

/// A load's time is smoothed, since a file that the system has in memory already loads in a fraction of it.
constexpr double reload_smoothing = 0.5;
/// Tries to make room for what turns out to be larger than it was thought.
constexpr int most_tries = 4;

Error was_cancelled() { return Error{Status::cancelled, "nobody waits for it any more", {}}; }

std::uint64_t field(const Error& error, std::string_view key) {
  for (const auto& one : error.context) {
    if (one.key != key) continue;
    std::uint64_t value = 0;
    for (const char digit : one.value) {
      if (digit < '0' || digit > '9' || value > no_limit / 16) return 0;
      value = value * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    return value;
  }
  return 0;
}

}  // namespace

std::string_view name_of(EntryKind kind) {
  constexpr std::array<std::string_view, 6> names = {"model", "part", "lora", "vae", "text_encoder", "embedding"};
  const auto index = static_cast<std::size_t>(kind);
  return index < names.size() ? names[index] : "unknown";
}

std::string_view name_of(Tier tier) {
  constexpr std::array<std::string_view, 3> names = {"file", "host", "device"};
  const auto index = static_cast<std::size_t>(tier);
  return index < names.size() ? names[index] : "unknown";
}

Result<Loaded> EntryCarrier::to_host(const std::shared_ptr<void>&) {
  return Error{Status::unsupported, "it has no host tier", {}};
}

Result<Loaded> EntryCarrier::to_device(const std::shared_ptr<void>&, const Cancelled&) {
  return Error{Status::unsupported, "it has no host tier", {}};
}

/// Guarded by its cache's lock, but what is const. One that was evicted while somebody uses it is in no table any more.
struct EnhancedModelCache::Entry {
  explicit Entry(const EntrySpec& spec, std::uint64_t its_number)
      : key(spec.key), kind(spec.kind), stands_on(spec.stands_on), number(its_number), carrier(spec.carrier) {}

  bool is_pinned() const noexcept { return pinned || (pinned_outside && pinned_outside->load()); }

  const std::string key;
  const EntryKind kind;
  const std::string stands_on;
  const std::uint64_t number;
  std::shared_ptr<EntryCarrier> carrier;
  std::shared_ptr<const std::atomic<bool>> pinned_outside{};
  Tier tier = Tier::file;
  std::shared_ptr<void> payload{};  // On the device.
  std::shared_ptr<void> on_host{};
  std::uint64_t bytes = 0;        // On the device now, as far as is known while it is used.
  std::uint64_t usual_bytes = 0;  // What a load takes; 0: not known.
  std::function<std::uint64_t()> bytes_now{};
  std::uint64_t host_bytes = 0;
  std::uint64_t charged = 0;  // By the cache.
  double reload_us = 0;
  std::int64_t idle_since_us = 0;
  std::uint32_t users = 0;
  bool pinned = false;
  bool leaving = false;                // Its memory is being given back, or moved.
  bool detached = false;               // In no table any more.
  bool is_stood_on = false;            // By what cannot go; as of the last mark_stood_on.
  std::shared_ptr<Attempt> loading{};  // Empty: nobody loads it.
};

EnhancedModelCache::Handle& EnhancedModelCache::Handle::operator=(Handle&& other) noexcept {
  if (this == &other) return *this;
  reset();
  cache_ = std::move(other.cache_);
  entry_ = std::move(other.entry_);
  payload_ = std::move(other.payload_);
  was_hit_ = other.was_hit_;
  return *this;
}

void EnhancedModelCache::Handle::reset() noexcept {
  if (!entry_) return;
  payload_.reset();  // Before the cache counts it as idle: it must be the cache's alone then.
  const auto entry = std::exchange(entry_, nullptr);
  const auto cache = std::exchange(cache_, nullptr);
  cache->release(*entry);
}

EnhancedModelCache::EnhancedModelCache(ModelCacheOptions options)
    : options_(std::move(options)),
      ledger_(*options_.ledger),
      clock_(options_.clock != nullptr ? *options_.clock : system_clock()),
      policy_(options_.policy) {}

Result<std::shared_ptr<EnhancedModelCache>> EnhancedModelCache::create(ModelCacheOptions options) {
  const auto invalid = [](std::string message) { return Error{Status::invalid_argument, std::move(message), {}}; };
  if (!options.ledger) return invalid("the cache has no ledger");
  if (options.device >= Ledger::max_devices || options.host_device >= Ledger::max_devices) {
    return invalid(
        fmt::format("devices {} and {} are not below {}", options.device, options.host_device, Ledger::max_devices));
  }
  if (options.idle_us < 0) return invalid(fmt::format("idle_us is {}; it must be at least 0", options.idle_us));
  std::shared_ptr<EnhancedModelCache> cache(new EnhancedModelCache(std::move(options)));
  cache->ledger_.add_reclaimer(cache);
  return cache;
}

EnhancedModelCache::~EnhancedModelCache() { (void)clear(); }

std::uint64_t EnhancedModelCache::capacity() const noexcept {
  const auto limit = ledger_.limit(options_.device);
  // What others hold of the device (activations, another engine) is not there for entries.
  const auto total = ledger_.total(options_.device);
  const auto others = total - std::min(total, device_bytes_);
  const auto ours = limit - std::min(limit, others);
  return options_.most_bytes == 0 ? ours : std::min(ours, options_.most_bytes);
}

std::uint64_t EnhancedModelCache::room(std::uint64_t reserved) const noexcept {
  auto free = ledger_.room(options_.device);
  if (options_.most_bytes != 0) {
    free = std::min(free, options_.most_bytes - std::min(options_.most_bytes, device_bytes_));
  }
  return free - std::min(free, reserved);
}

bool EnhancedModelCache::is_evictable(const Entry& entry) const noexcept {
  return entry.tier == Tier::device && entry.users == 0 && !entry.is_pinned() && !entry.leaving && !entry.loading;
}

void EnhancedModelCache::mark_stood_on() const noexcept {
  for (const auto& [key, entry] : entries_) entry->is_stood_on = false;
  for (const auto& [key, entry] : entries_) {
    if (entry->stands_on.empty() || entry->tier != Tier::device || is_evictable(*entry)) continue;
    const auto below = entries_.find(entry->stands_on);
    if (below != entries_.end()) below->second->is_stood_on = true;
  }
}

std::uint64_t EnhancedModelCache::evictable_bytes() const noexcept {
  mark_stood_on();
  std::uint64_t sum = 0;
  for (const auto& [key, entry] : entries_) {
    if (is_evictable(*entry) && !entry->is_stood_on) sum += entry->bytes;
  }
  return sum;
}

std::vector<std::shared_ptr<EnhancedModelCache::Entry>> EnhancedModelCache::victims(std::uint64_t missing,
                                                                                    const Entry* spared) const {
  mark_stood_on();
  std::vector<EvictionPolicy::Number> candidates;
  for (const auto& [key, entry] : entries_) {
    if (entry.get() != spared && is_evictable(*entry) && !entry->is_stood_on) candidates.push_back(entry->number);
  }
  std::vector<std::shared_ptr<Entry>> out;
  for (const auto number : policy_.victims(std::move(candidates), missing)) out.push_back(by_number_.at(number));
  // What stands on one that goes, goes before it.
  const auto chosen = out.size();
  for (std::size_t at = 0; at < chosen; ++at) {
    for (const auto& [key, entry] : entries_) {
      if (entry->stands_on.empty() || entry->stands_on != out[at]->key || !is_evictable(*entry)) continue;
      if (std::find(out.begin(), out.end(), entry) == out.end()) out.push_back(entry);
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return !a->stands_on.empty() && b->stands_on.empty(); });
  return out;
}

void EnhancedModelCache::drop_from_host(Lock& lock, Entry& entry) noexcept {
  auto payload = std::exchange(entry.on_host, nullptr);
  const auto bytes = std::exchange(entry.host_bytes, 0);
  host_bytes_ -= std::min(host_bytes_, bytes);
  if (entry.tier == Tier::host) entry.tier = Tier::file;
  if (!payload) return;
  lock.unlock();
  payload.reset();
  ledger_.release(options_.host_device, MemoryKind::staging, bytes, true);
  lock.lock();
}

bool EnhancedModelCache::move_to_host(Lock& lock, Entry& entry) noexcept {
  if (options_.host_bytes == 0 || options_.host_device == options_.device || !entry.carrier->has_host_tier()) {
    return false;
  }
  if (entry.bytes > options_.host_bytes) return false;
  try {
    // Those that are there longest go first; what is worth most to keep was kept on the device.
    while (host_bytes_ + entry.bytes > options_.host_bytes) {
      std::vector<EvictionPolicy::Number> there;
      for (const auto& [key, other] : entries_) {
        if (other->tier == Tier::host && !other->loading && !other->leaving) there.push_back(other->number);
      }
      if (there.empty()) return false;
      policy_.order(there);
      drop_from_host(lock, *by_number_.at(there.front()));
    }
    // The bytes on the device stand for those on the host, which the carrier tells exactly.
    const auto promised = entry.bytes;
    if (!ledger_.reserve(options_.host_device, MemoryKind::staging, promised)) return false;
    host_bytes_ += promised;
    const auto payload = entry.payload;
    lock.unlock();
    auto moved = [&]() -> Result<Loaded> {
      try {
        return entry.carrier->to_host(payload);
      } catch (...) {
        return Error{Status::internal, {}, {}};
      }
    }();
    lock.lock();
    host_bytes_ -= std::min(host_bytes_, promised);
    if (!moved || moved.value().bytes > promised) {
      ledger_.release(options_.host_device, MemoryKind::staging, promised, false);
      return false;
    }
    const auto bytes = moved.value().bytes == 0 ? promised : moved.value().bytes;
    ledger_.release(options_.host_device, MemoryKind::staging, promised - bytes, false);
    ledger_.commit(options_.host_device, MemoryKind::staging, bytes);
    host_bytes_ += bytes;
    entry.on_host = std::move(moved.value().payload);
    entry.host_bytes = bytes;
    ++counts_.demotions;
    return true;
  } catch (...) {  // Without memory for the names: it is dropped instead.
    if (!lock.owns_lock()) lock.lock();
    return false;
  }
}

std::uint64_t EnhancedModelCache::drop(Lock& lock, std::span<const std::shared_ptr<Entry>> gone,
                                       bool may_demote) noexcept {
  std::uint64_t freed = 0;
  for (const auto& entry : gone) {
    entry->leaving = true;
    ++leaving_;
  }
  for (const auto& entry : gone) {
    const bool moved = may_demote && !entry->on_host && move_to_host(lock, *entry);
    auto payload = std::exchange(entry->payload, nullptr);
    const auto charged = std::exchange(entry->charged, 0);
    const auto bytes = entry->bytes;
    lock.unlock();
    payload.reset();  // Unloads, which takes a while.
    if (charged > 0) ledger_.release(options_.device, MemoryKind::weights, charged, true);
    lock.lock();
    device_bytes_ -= std::min(device_bytes_, bytes);
    entry->tier = moved || entry->on_host ? Tier::host : Tier::file;
    entry->leaving = false;
    --leaving_;
    freed += bytes;
    ++counts_.evictions;
    counts_.evicted_bytes += bytes;
  }
  changed_.notify_all();
  return freed;
}

Result<void> EnhancedModelCache::admit(Lock& lock, const Entry& entry, std::uint64_t bytes,
                                       const Cancelled& cancelled) {
  for (;;) {
    if (cancelled()) return was_cancelled();
    const auto free = room(admitted_);
    if (bytes <= free) {
      admitted_ += bytes;
      return success();
    }
    const auto missing = bytes - free;
    const auto evictable = evictable_bytes();
    if (missing > evictable) {
      // What loads or leaves now may turn out smaller, or make room.
      if (admitted_ != 0 || leaving_ != 0) {
        changed_.wait(lock);
        continue;
      }
      // Idle entries of other engines on the same device.
      lock.unlock();
      const auto others = ledger_.reclaimable(options_.device);
      const bool may_help = options_.most_bytes == 0 && others >= missing;
      const auto given = may_help ? ledger_.reclaim(options_.device, missing) : 0;
      lock.lock();
      if (given > 0 || bytes <= room(admitted_)) continue;
      ++counts_.refusals;
      const auto limit = capacity();
      return Error{Status::over_budget,
                   fmt::format("{} needs {} bytes of device {}; {} are free and {} can be given up of at most {}",
                               entry.key, bytes, options_.device, free, evictable, limit),
                   {}}
          .with("device", fmt::to_string(options_.device))
          .with("needed_bytes", fmt::to_string(bytes))
          .with("free_bytes", fmt::to_string(free))
          .with("evictable_bytes", fmt::to_string(evictable))
          .with("limit_bytes", fmt::to_string(limit));
    }
    const auto gone = victims(missing, &entry);
    if (gone.empty()) {
      // All that is idle is stood on by what is in use.
      if (admitted_ != 0 || leaving_ != 0) {
        changed_.wait(lock);
        continue;
      }
      ++counts_.refusals;
      return Error{Status::over_budget,
                   fmt::format("{} needs {} bytes of device {}; {} are free", entry.key, bytes, options_.device, free),
                   {}}
          .with("device", fmt::to_string(options_.device))
          .with("needed_bytes", fmt::to_string(bytes))
          .with("free_bytes", fmt::to_string(free));
    }
    drop(lock, gone, true);
  }
}

Result<Loaded> EnhancedModelCache::fetch(const Entry& entry, const EntrySpec& spec,
                                         const std::shared_ptr<void>& on_host, const Cancelled& cancelled) {
  const auto promised = spec.charged_by_carrier || spec.loads_on_use ? 0 : entry.usual_bytes;
  if (promised > 0) {
    GF_TRYV(ledger_.reserve(options_.device, MemoryKind::weights, promised));
  }
  const auto give_up = [&] {
    if (promised > 0) ledger_.release(options_.device, MemoryKind::weights, promised, false);
  };
  try {
    MemoryScope scope(ledger_, options_.device, {.name = entry.key, .end_promises = false});
    auto loaded = on_host ? spec.carrier->to_device(on_host, cancelled) : spec.carrier->load(cancelled);
    if (loaded && !loaded.value().payload) {
      loaded = Error{Status::internal, fmt::format("{} was loaded, and nothing came of it", entry.key), {}};
    }
    if (!loaded) {
      give_up();
      return loaded;
    }
    auto& bytes = loaded.value().bytes;
    if (spec.charged_by_carrier && bytes == 0) {
      bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(scope.net_bytes(), 0));
    }
    if (!spec.charged_by_carrier) {
      if (bytes > promised) {
        auto more = ledger_.reserve(options_.device, MemoryKind::weights, bytes - promised);
        if (!more) {
          loaded.value().payload.reset();
          give_up();
          return std::move(more).error();
        }
      } else if (bytes < promised) {
        ledger_.release(options_.device, MemoryKind::weights, promised - bytes, false);
      }
      ledger_.commit(options_.device, MemoryKind::weights, bytes);
    }
    return loaded;
  } catch (...) {
    give_up();
    throw;
  }
}

Result<Loaded> EnhancedModelCache::bring(Lock& lock, const std::shared_ptr<Entry>& entry, const EntrySpec& spec,
                                         const Cancelled& cancelled) {
  if (entry->usual_bytes == 0) entry->usual_bytes = spec.bytes;
  const auto wanted = spec.loads_on_use ? 0 : entry->usual_bytes;
  for (int tries = 1;; ++tries) {
    GF_TRYV(admit(lock, *entry, wanted, cancelled));
    const auto on_host = entry->on_host;
    lock.unlock();
    std::optional<Result<Loaded>> fetched;
    try {
      fetched.emplace(fetch(*entry, spec, on_host, cancelled));
    } catch (...) {
      lock.lock();
      admitted_ -= wanted;
      throw;
    }
    lock.lock();
    admitted_ -= wanted;
    changed_.notify_all();
    auto& loaded = *fetched;
    if (loaded) return std::move(loaded);
    const auto& error = loaded.error();
    const bool is_short = error.status == Status::over_budget || error.status == Status::out_of_device_memory;
    if (!is_short || tries == most_tries) return std::move(loaded);
    // It is larger than was thought, or memory went elsewhere meanwhile: once more with what it said it needs.
    const auto needed = std::max(field(error, "needed_bytes"), std::uint64_t{1});
    const auto free = room(admitted_);
    const auto missing = needed > free ? needed - free : needed;
    const auto gone = victims(missing, entry.get());
    if (gone.empty()) return std::move(loaded);
    drop(lock, gone, true);
  }
}

EnhancedModelCache::Handle EnhancedModelCache::use(const std::shared_ptr<Entry>& entry, bool was_hit) {
  policy_.used(entry->number, std::max<std::uint64_t>(entry->usual_bytes, 1), entry->reload_us, capacity());
  ++entry->users;
  Handle out;
  out.cache_ = shared_from_this();
  out.entry_ = entry;
  out.payload_ = entry->payload;
  out.was_hit_ = was_hit;
  return out;
}

std::shared_ptr<EnhancedModelCache::Entry> EnhancedModelCache::entry_of(const EntrySpec& spec) {
  const auto found = entries_.find(spec.key);
  if (found != entries_.end()) return found->second;
  auto made = std::make_shared<Entry>(spec, next_number_);
  by_number_.emplace(made->number, made);
  try {
    entries_.emplace(spec.key, made);
  } catch (...) {
    by_number_.erase(made->number);
    throw;
  }
  ++next_number_;
  return made;
}

Result<EnhancedModelCache::Handle> EnhancedModelCache::acquire(const EntrySpec& spec, const Cancelled& cancelled) {
  if (!spec.carrier) return Error{Status::invalid_argument, fmt::format("{} has no carrier", spec.key), {}};
  const auto mine = std::make_shared<Attempt>();
  Lock lock(mutex_);
  std::shared_ptr<Entry> entry;
  for (bool waited = false;;) {
    if (cancelled()) return was_cancelled();
    entry = entry_of(spec);  // Anew each time: it may have been evicted by name meanwhile.
    if (!entry->loading && !entry->leaving) {
      if (entry->tier != Tier::device) break;
      ++counts_.hits;
      return use(entry, true);
    }
    if (!std::exchange(waited, true)) ++counts_.waits;
    if (entry->leaving) {
      changed_.wait(lock);
      continue;
    }
    const auto other = entry->loading;
    changed_.wait(lock, [&] { return other->over || cancelled(); });
    if (other->over && other->error) return *other->error;
  }
  entry->loading = mine;
  entry->carrier = spec.carrier;
  entry->pinned_outside = spec.pinned;
  const auto end = [&](std::optional<Error> error) {
    if (!lock.owns_lock()) lock.lock();
    mine->over = true;
    mine->error = std::move(error);
    entry->loading.reset();
    changed_.notify_all();
  };
  try {
    const auto begun_us = clock_.now_us();
    const bool from_host = entry->on_host != nullptr;
    auto loaded = bring(lock, entry, spec, cancelled);
    if (!loaded) {
      if (loaded.error().status == Status::cancelled) {
        end(std::nullopt);
      } else {
        ++counts_.failed_loads;
        end(loaded.error());
      }
      return std::move(loaded).error();
    }
    const auto took_us = std::max<std::int64_t>(clock_.now_us() - begun_us, 0);
    counts_.load_us += took_us;
    ++(from_host ? counts_.host_hits : counts_.loads);
    const auto cost = static_cast<double>(took_us);
    entry->reload_us = entry->reload_us == 0 ? cost : entry->reload_us + reload_smoothing * (cost - entry->reload_us);
    entry->bytes = loaded.value().bytes;
    if (!spec.loads_on_use) entry->usual_bytes = entry->bytes;
    entry->bytes_now = std::move(loaded.value().bytes_now);
    entry->payload = std::move(loaded.value().payload);
    entry->charged = spec.charged_by_carrier ? 0 : entry->bytes;
    if (!entry->detached) {
      entry->tier = Tier::device;
      device_bytes_ += entry->bytes;
    }
    if (entry->on_host) drop_from_host(lock, *entry);
    auto handle = use(entry, false);
    end(std::nullopt);
    return handle;
  } catch (...) {
    // Without memory for a copy of the error, others try for themselves.
    end(std::nullopt);
    throw;
  }
}

Result<void> EnhancedModelCache::prefetch(const EntrySpec& spec, const Cancelled& cancelled) {
  GF_TRYV(acquire(spec, cancelled));
  return success();
}

void EnhancedModelCache::wake() noexcept {
  const Lock lock(mutex_);
  changed_.notify_all();
}

void EnhancedModelCache::count_anew(Entry& entry) noexcept {
  if (!entry.bytes_now || entry.tier != Tier::device) return;
  device_bytes_ -= std::min(device_bytes_, entry.bytes);
  entry.bytes = entry.bytes_now();
  entry.usual_bytes = std::max(entry.usual_bytes, entry.bytes);
  device_bytes_ += entry.bytes;
}

void EnhancedModelCache::release(Entry& entry) noexcept {
  std::shared_ptr<void> payload;
  std::uint64_t charged = 0;
  bool relieve = false;
  {
    Lock lock(mutex_);
    if (--entry.users == 0) {
      entry.idle_since_us = clock_.now_us();
      if (entry.detached) {
        payload = std::exchange(entry.payload, nullptr);
        charged = std::exchange(entry.charged, 0);
      } else {
        count_anew(entry);
        relieve = ledger_.excess(options_.device) > 0;
      }
      changed_.notify_all();
    }
  }
  payload.reset();
  if (charged > 0) ledger_.release(options_.device, MemoryKind::weights, charged, true);
  // What could not be given back while it was in use, can be now.
  if (relieve) ledger_.ring();
  if (options_.idle_us == 0) (void)trim();
}

void EnhancedModelCache::pin(std::string_view key, bool pinned) {
  const Lock lock(mutex_);
  const auto found = entries_.find(key);
  if (found != entries_.end()) {
    found->second->pinned = pinned;
  } else if (pinned) {
    EntrySpec spec;
    spec.key = key;
    entry_of(spec)->pinned = true;
  }
}

bool EnhancedModelCache::evict(std::string_view key) noexcept {
  Lock lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second->leaving) return false;
  const auto entry = found->second;
  entry->pinned = false;
  if (entry->loading) return false;
  const bool was_there = entry->tier != Tier::file;
  if (entry->on_host) drop_from_host(lock, *entry);
  if (entry->tier != Tier::device) return was_there;
  if (entry->users == 0) {
    drop(lock, {&entry, 1}, false);
    return true;
  }
  // Its users keep it; the table gets another one when somebody asks.
  entry->detached = true;
  device_bytes_ -= std::min(device_bytes_, entry->bytes);
  policy_.forget(entry->number);
  by_number_.erase(entry->number);
  entries_.erase(entry->key);
  return true;
}

bool EnhancedModelCache::quarantine(std::string_view key) noexcept {
  const bool was_there = evict(key);
  const Lock lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second->loading || found->second->leaving) return was_there;
  if (found->second->tier != Tier::file || found->second->users != 0) return was_there;
  policy_.forget(found->second->number);
  by_number_.erase(found->second->number);
  entries_.erase(found);
  return was_there;
}

bool EnhancedModelCache::demote(std::string_view key, bool or_drop) noexcept {
  Lock lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || !is_evictable(*found->second)) return false;
  const auto entry = found->second;
  entry->leaving = true;
  const bool moved = move_to_host(lock, *entry);
  entry->leaving = false;
  if (moved || or_drop) drop(lock, {&entry, 1}, false);
  changed_.notify_all();
  return moved;
}

std::uint64_t EnhancedModelCache::trim() noexcept {
  try {
    Lock lock(mutex_);
    const auto now_us = clock_.now_us();
    std::vector<std::shared_ptr<Entry>> gone;
    for (const auto& [key, entry] : entries_) {
      if (is_evictable(*entry) && now_us - entry->idle_since_us >= options_.idle_us) gone.push_back(entry);
    }
    return drop(lock, gone, false);
  } catch (...) {  // Without memory for the list; there is a next time.
    return 0;
  }
}

std::uint64_t EnhancedModelCache::clear() noexcept {
  std::uint64_t freed = 0;
  Lock lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto entry = at->second;
    if (entry->users == 0 && !entry->loading && !entry->leaving && entry->tier != Tier::file) {
      entry->pinned = false;
      if (entry->on_host) drop_from_host(lock, *entry);
      if (entry->tier == Tier::device) freed += drop(lock, {&entry, 1}, false);
      at = entries_.begin();  // The lock was let go.
    } else {
      ++at;
    }
  }
  return freed;
}

std::uint64_t EnhancedModelCache::reclaim(std::uint32_t device, std::uint64_t bytes) noexcept {
  if (device != options_.device || bytes == 0) return 0;
  try {
    Lock lock(mutex_);
    return drop(lock, victims(std::min(bytes, evictable_bytes()), nullptr), true);
  } catch (...) {  // Without memory for the list.
    return 0;
  }
}

std::uint64_t EnhancedModelCache::reclaimable(std::uint32_t device) const noexcept {
  if (device != options_.device) return 0;
  const Lock lock(mutex_);
  return evictable_bytes();
}

ModelCacheStatistics EnhancedModelCache::statistics() const {
  const Lock lock(mutex_);
  return counted();
}

ModelCacheStatistics EnhancedModelCache::glance() const {
  const std::lock_guard glance(glance_mutex_);
  // An executor of low priority may have been put aside with the lock in its hands.
  if (const Lock lock(mutex_, std::try_to_lock); lock.owns_lock()) last_glance_ = counted();
  return last_glance_;
}

ModelCacheStatistics EnhancedModelCache::counted() const {
  auto out = counts_;
  for (const auto& [key, entry] : entries_) {
    if (entry->is_pinned()) ++out.pinned;
    if (entry->tier == Tier::host) ++out.host_entries;
    if (entry->tier != Tier::device) continue;
    ++out.entries;
    if (entry->users > 0) ++out.in_use;
    if (is_evictable(*entry)) out.idle_bytes += entry->bytes;
  }
  out.bytes = device_bytes_;
  out.host_tier_bytes = host_bytes_;
  return out;
}

std::vector<EntryInfo> EnhancedModelCache::entries() const {
  const Lock lock(mutex_);
  std::vector<EntryInfo> out;
  for (const auto& [key, entry] : entries_) {
    out.push_back({key, entry->kind, entry->tier, entry->tier == Tier::host ? entry->host_bytes : entry->bytes,
                   entry->users, entry->is_pinned(), static_cast<std::int64_t>(entry->reload_us)});
  }
  return out;
}

std::string embedding_key(std::string_view model, std::vector<std::string> loras, std::uint32_t clip_skip,
                          const std::vector<std::string>& texts) {
  std::sort(loras.begin(), loras.end());
  Sha256 hash;
  // Each part with its length before it, so that no two lists give the same bytes.
  const auto add = [&](std::string_view part) {
    hash.add(fmt::format("{}:", part.size()));
    hash.add(part);
  };
  add(model);
  hash.add(fmt::format("{};", loras.size()));
  for (const auto& lora : loras) add(lora);
  hash.add(fmt::format("{};{};", clip_skip, texts.size()));
  for (const auto& text : texts) add(text);
  return fmt::format("embedding:{}", to_hex(hash.finish()));
}

}  // namespace gf::cache
