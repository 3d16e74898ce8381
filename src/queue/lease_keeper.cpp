#include "queue/lease_keeper.hpp"

#include "base/clock.hpp"
#include "base/platform.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>

namespace gf::queue {
namespace {

constexpr std::int64_t shortest_us = 3'000;

}  // namespace

LeaseKeeper::~LeaseKeeper() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool LeaseKeeper::is_own_thread() const {
  const std::lock_guard lock(mutex_);
  return thread_.get_id() == std::this_thread::get_id();
}

Result<HoldState> LeaseKeeper::hold(const LeaseKey& key, std::int64_t lease_us) {
  if (lease_us < shortest_us) {
    return Error{Status::invalid_argument,
                 fmt::format("a lease of {} us is too short to be kept; {} is the least", lease_us, shortest_us),
                 {}};
  }
  const auto sent_us = system_clock().now_us();
  GF_TRY(const auto heartbeat, queue_.extend(key, lease_us));
  Hold hold;
  hold.lease_us = lease_us;
  hold.renew_at_us = sent_us + lease_us / 3;
  hold.over_at_us = sent_us + lease_us;
  hold.state = heartbeat.cancel_requested ? HoldState::cancel_requested : HoldState::held;
  try {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = start_thread("gf-leases", [this] { run(); });
    holds_.insert_or_assign(Name{key.id, key.fencing_token}, hold);
  } catch (const std::system_error& error) {
    return Error{Status::out_of_host_memory, fmt::format("no thread for heartbeats: {}", error.what()), {}};
  } catch (const std::bad_alloc&) {
    return Error{Status::out_of_host_memory, "out of memory", {}};
  }
  changed_.notify_all();
  return hold.state;
}

Result<HoldState> LeaseKeeper::state(const LeaseKey& key) {
  const std::lock_guard lock(mutex_);
  const auto found = holds_.find({key.id, key.fencing_token});
  if (found == holds_.end()) return not_kept(key);
  auto& hold = found->second;
  if (system_clock().now_us() >= hold.over_at_us) hold.state = HoldState::lost;
  return hold.state;
}

Error LeaseKeeper::not_kept(const LeaseKey& key) {
  return {Status::not_found,
          fmt::format("the lease of job {} with token {} is not kept here", to_text(key.id), key.fencing_token),
          {}};
}

bool LeaseKeeper::let_go(const LeaseKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  return holds_.erase({key.id, key.fencing_token}) != 0;
}

void LeaseKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!ends_) {
    const Name* next = nullptr;
    std::int64_t at_us = 0;
    for (const auto& [name, hold] : holds_) {
      if (hold.state == HoldState::lost || (next != nullptr && hold.renew_at_us >= at_us)) continue;
      next = &name;
      at_us = hold.renew_at_us;
    }
    if (next == nullptr) {
      changed_.wait(lock);
      continue;
    }
    const auto left_us = at_us - system_clock().now_us();
    if (left_us > 0) {
      changed_.wait_for(lock, std::chrono::microseconds(left_us));
      continue;
    }
    renew(lock, Name(*next));
  }
}

void LeaseKeeper::renew(std::unique_lock<std::mutex>& lock, const Name& name) {
  const auto lease_us = holds_.at(name).lease_us;
  lock.unlock();
  const auto sent_us = system_clock().now_us();
  const auto heartbeat = [&]() -> Result<Heartbeat> {
    try {
      return queue_.extend({name.first, name.second}, lease_us);
    } catch (const std::bad_alloc&) {  // A heartbeat that failed: nothing may fly out of the thread.
      return Error{Status::out_of_host_memory, {}, {}};
    }
  }();
  lock.lock();
  const auto found = holds_.find(name);
  if (found == holds_.end()) return;  // Let go meanwhile.
  auto& hold = found->second;
  // The holder has been told meanwhile.
  if (hold.state == HoldState::lost) return;
  const auto now_us = system_clock().now_us();
  if (heartbeat) {
    // Another length was asked for meanwhile, and the queue may have heard of this one last: ask again at once.
    hold.renew_at_us = hold.lease_us == lease_us ? sent_us + lease_us / 3 : now_us;
    hold.over_at_us = sent_us + std::min(lease_us, hold.lease_us);
    if (heartbeat.value().cancel_requested) hold.state = HoldState::cancel_requested;
  } else if (heartbeat.error().status == Status::lease_lost || now_us >= hold.over_at_us) {
    hold.state = HoldState::lost;
  } else {
    hold.renew_at_us = now_us + std::max<std::int64_t>(hold.lease_us / 20, 1'000);
  }
}

}  // namespace gf::queue
