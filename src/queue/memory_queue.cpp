#include "queue/memory_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace gf::queue {

std::uint64_t MemoryQueue::waiting() const {
  std::uint64_t sum = 0;
  for (const auto& lane : lanes_) sum += lane.size();
  return sum;
}

Result<void> MemoryQueue::push(Entry entry) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Error{Status::shutting_down, "the queue is closed", {}};
  if (waiting() >= limit_) {
    return Error{Status::queue_full, fmt::format("{} jobs wait already, which is the queue's limit", limit_), {}};
  }
  entry.priority = std::min(entry.priority, Priority::low);
  const auto id = entry.id;
  const auto [place, fresh] = places_.try_emplace(id);
  if (!fresh) return Error{Status::already_exists, fmt::format("job {} is in the queue already", to_text(id)), {}};
  try {
    auto& lane = lanes_[static_cast<std::size_t>(entry.priority)];
    lane.push_back(Job{std::move(entry), 0, 0, 0});
    place->second = std::prev(lane.end());
  } catch (...) {
    places_.erase(place);
    throw;
  }
  changed_.notify_one();
  return success();
}

bool MemoryQueue::wait_for_job(std::unique_lock<std::mutex>& lock, std::optional<std::int64_t> timeout_us) {
  const auto ready = [this] { return closed_ || waiting() > 0; };
  if (timeout_us) {
    // A year is as good as any longer time, and cannot overflow the clock.
    const auto us = std::clamp<std::int64_t>(*timeout_us, 0, 365LL * 24 * 3600 * 1'000'000);
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(us);
    changed_.wait_until(lock, until, ready);
  } else {
    changed_.wait(lock, ready);
  }
  return !closed_ && waiting() > 0;
}

Lease MemoryQueue::take(std::int64_t expires_at_us) {
  const auto lane = std::ranges::find_if(lanes_, [](const auto& jobs) { return !jobs.empty(); });
  const auto job = lane->begin();
  taken_.splice(taken_.end(), *lane, job);
  job->fencing_token = ++last_token_;
  job->expires_at_us = expires_at_us;
  ++job->attempts;
  return Lease{job->entry, job->fencing_token, expires_at_us, job->attempts};
}

Result<MemoryQueue::Place> MemoryQueue::held(const Lease& lease) {
  const auto found = places_.find(lease.entry.id);
  if (found == places_.end() || found->second->fencing_token != lease.fencing_token || lease.fencing_token == 0) {
    return Error{Status::lease_lost,
                 fmt::format("the lease {} of job {} is over", lease.fencing_token, to_text(lease.entry.id)),
                 {}};
  }
  return found->second;
}

void MemoryQueue::put_back(Place job) {
  job->fencing_token = 0;
  auto& lane = lane_of(*job);
  lane.splice(lane.begin(), taken_, job);
  changed_.notify_one();
}

Result<void> MemoryQueue::extend(const Lease& lease, std::int64_t expires_at_us) {
  const std::lock_guard lock(mutex_);
  GF_TRY(const auto job, held(lease));
  job->expires_at_us = expires_at_us;
  return success();
}

Result<void> MemoryQueue::complete(const Lease& lease) {
  std::list<Job> gone;  // Its payload is freed after the lock is.
  const std::lock_guard lock(mutex_);
  GF_TRY(const auto job, held(lease));
  gone.splice(gone.end(), taken_, job);
  places_.erase(lease.entry.id);
  return success();
}

Result<void> MemoryQueue::abandon(const Lease& lease) {
  const std::lock_guard lock(mutex_);
  GF_TRY(const auto job, held(lease));
  put_back(job);
  return success();
}

std::optional<Entry> MemoryQueue::remove(const JobId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(id);
  if (found == places_.end() || found->second->fencing_token != 0) return std::nullopt;
  auto entry = std::move(found->second->entry);
  lanes_[static_cast<std::size_t>(entry.priority)].erase(found->second);
  places_.erase(found);
  return entry;
}

std::uint64_t MemoryQueue::requeue_expired(std::int64_t now_us) {
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  // From the youngest lease to the oldest, each to the front: so they stand in the order in which they were taken.
  for (auto job = taken_.end(); job != taken_.begin();) {
    const auto candidate = std::prev(job);
    if (candidate->expires_at_us <= now_us) {
      put_back(candidate);
      ++count;
    } else {
      job = candidate;
    }
  }
  return count;
}

void MemoryQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::optional<Entry> MemoryQueue::drain() {
  const std::lock_guard lock(mutex_);
  const auto lane = std::ranges::find_if(lanes_, [](const auto& jobs) { return !jobs.empty(); });
  if (!closed_ || lane == lanes_.end()) return std::nullopt;
  auto entry = std::move(lane->front().entry);
  lane->pop_front();
  places_.erase(entry.id);
  return entry;
}

bool MemoryQueue::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

QueueCounts MemoryQueue::counts() const {
  const std::lock_guard lock(mutex_);
  QueueCounts out;
  for (std::size_t lane = 0; lane < lanes; ++lane) out.waiting[lane] = lanes_[lane].size();
  out.leased = taken_.size();
  return out;
}

}  // namespace gf::queue
