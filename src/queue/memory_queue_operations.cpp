// What an operator asks of the in-process queue: one job, lists, dead letters, statistics, events, other options.
#include "queue/memory_queue_journal.hpp"
#include "queue/memory_queue_node.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

namespace gf::queue {
namespace {

Result<std::uint32_t> parse_cursor(const std::string& cursor) {
  std::uint32_t slot = 0;
  if (cursor.empty()) return slot;
  const auto* end = cursor.data() + cursor.size();
  const auto [at, error] = std::from_chars(cursor.data(), end, slot);
  if (error != std::errc() || at != end) {
    return foreign_cursor();
  }
  return slot;
}

}  // namespace

// ---- One job, and many ----------------------------------------------------------------------------------------------

Result<CancelOutcome> MemoryQueue::cancel(const JobId& id) {
  std::shared_ptr<Attachment> attachment;  // Freed after the lock is.
  std::unique_lock lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  const auto slot = slot_of(id);
  if (slot == none) return unknown_job(id);
  auto& node = nodes_[slot];
  if (is_over(node.state)) {
    return Error{Status::wrong_state, fmt::format("job {} is {}", to_text(id), name_of(node.state)), {}};
  }
  if (node.state == JobState::running) {
    node.cancel_requested = true;
    mark(slot, change::state);
    GF_TRYV(settled(lock));
    return CancelOutcome::requested;
  }
  disarm(slot);
  attachment = std::move(node.attachment);
  end(slot, JobState::cancelled, now);
  GF_TRYV(settled(lock));
  return CancelOutcome::cancelled;
}

std::optional<std::shared_ptr<Attachment>> MemoryQueue::take_out(std::uint32_t slot) {
  auto& node = nodes_[slot];
  disarm(slot);
  auto attachment = std::move(node.attachment);
  end(slot, JobState::cancelled, now_us());
  return attachment;
}

std::optional<std::shared_ptr<Attachment>> MemoryQueue::remove(const JobId& id) {
  std::unique_lock lock(mutex_);
  const auto slot = slot_of(id);
  if (slot == none || (nodes_[slot].state != JobState::waiting && nodes_[slot].state != JobState::delayed)) {
    return std::nullopt;
  }
  auto attachment = take_out(slot);
  (void)settled(lock);  // It goes with the next change otherwise.
  return attachment;
}

std::optional<std::shared_ptr<Attachment>> MemoryQueue::remove_any() {
  std::unique_lock lock(mutex_);
  if (!closed_) return std::nullopt;
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    if (const auto slot = lanes_.oldest_slot(static_cast<Priority>(lane)); slot != none) {
      auto attachment = take_out(slot);
      (void)settled(lock);  // It goes with the next change otherwise, as below.
      return attachment;
    }
  }
  for (const auto& timer : timers_.entries()) {
    if (nodes_[timer.slot].state != JobState::delayed) continue;
    auto attachment = take_out(timer.slot);
    (void)settled(lock);
    return attachment;
  }
  return std::nullopt;
}

JobRecord MemoryQueue::record_of(std::uint32_t slot, bool with_payload) const {
  const auto& node = nodes_[slot];
  JobRecord record;
  record.id = node.id;
  record.state = node.state;
  record.priority = node.priority;
  record.user = users_.name(node.user);
  if (with_payload && node.payload_bytes != 0) record.payload.assign(node.blob.get(), node.payload_bytes);
  Texts texts(node);
  record.content_type = texts.next();
  record.idempotency_key = texts.next();
  const auto tags = texts.count();
  for (std::size_t at = 0; at < tags; ++at) record.tags.emplace_back(texts.next());
  record.retry = {node.max_attempts, node.base_us, node.cap_us};
  record.enqueued_us = node.enqueued_us;
  record.available_us = node.available_us;
  record.deadline_us = node.deadline_us;
  record.started_us = node.started_us;
  record.finished_us = node.ended_us;
  if (node.state == JobState::running) record.lease_expires_us = timers_.entries()[node.timer_at].key;
  record.fencing_token = node.takes;
  record.failures = node.failures;
  record.crashes = node.crashes;
  record.cancel_requested = node.cancel_requested;
  if (node.worker != none) record.worker = workers_.name(node.worker);
  if (node.cold) {
    record.progress = node.cold->progress;
    record.result = node.cold->result;
    record.history = node.cold->history;
    record.end_status = node.cold->end_status;
    record.end_message = node.cold->end_message;
  }
  return record;
}

Result<JobRecord> MemoryQueue::get(const JobId& id) {
  const std::lock_guard lock(mutex_);
  sweep_some(now_us(), sweep_budget);
  const auto slot = slot_of(id);
  if (slot == none) return unknown_job(id);
  return record_of(slot, true);
}

bool MemoryQueue::fits(const Node& node, const JobFilter& filter, std::int64_t now) const {
  if (!node.used || node.arriving || node.state != filter.state) return false;
  if (filter.user && users_.name(node.user) != *filter.user) return false;
  if (filter.status && (node.cold ? node.cold->end_status : Status::ok) != *filter.status) return false;
  if (filter.older_than_us) {
    const auto since = is_over(node.state)               ? node.ended_us
                       : node.state == JobState::running ? node.started_us
                                                         : node.enqueued_us;
    if (now - since <= *filter.older_than_us) return false;
  }
  if (filter.tag) {
    Texts texts(node);
    texts.next();
    texts.next();
    const auto tags = texts.count();
    for (std::size_t at = 0; at < tags; ++at) {
      if (texts.next() == *filter.tag) return true;
    }
    return false;
  }
  return true;
}

/// Shows `visit` the slots from `slot` on that fit, until it says that it takes no more or `places` were looked at. The
/// cursor of what was not looked at, or "".
template <class Visit>
std::string MemoryQueue::walk(std::uint32_t slot, std::uint32_t places, const JobFilter& filter, std::int64_t now,
                              Visit&& visit) {
  bool goes_on = true;
  for (std::uint32_t seen = 0; slot < node_count_; ++slot, ++seen) {
    if (seen >= places || !goes_on) return fmt::format("{}", slot);
    if (fits(nodes_[slot], filter, now)) goes_on = visit(slot);
  }
  return {};
}

Result<JobPage> MemoryQueue::list(const JobFilter& filter, const std::string& cursor, std::uint32_t limit) {
  GF_TRYV(check_page(limit));
  GF_TRY(const auto slot, parse_cursor(cursor));
  JobPage page;
  const std::lock_guard lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  // Looking at empty places is cheap, but not without end.
  page.cursor = walk(slot, 16 * bulk_budget, filter, now, [&](std::uint32_t found) {
    page.jobs.push_back(record_of(found, false));
    return page.jobs.size() < limit;
  });
  return page;
}

template <class Apply>
Result<BulkOutcome> MemoryQueue::bulk(const JobFilter& filter, const std::string& cursor, Apply&& apply) {
  GF_TRY(const auto slot, parse_cursor(cursor));
  BulkOutcome outcome;
  std::unique_lock lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  outcome.cursor = walk(slot, bulk_budget, filter, now, [&](std::uint32_t found) {
    ++outcome.changed;
    apply(found, now);
    return true;
  });
  GF_TRYV(settled(lock));
  return outcome;
}

Result<BulkOutcome> MemoryQueue::purge(const JobFilter& filter, const std::string& cursor) {
  GF_TRYV(check_purge(filter));
  return bulk(filter, cursor, [this](std::uint32_t found, std::int64_t now) {
    auto& node = nodes_[found];
    if (node.state == JobState::dead) {
      remove_dead(found, now, false);
    } else if (is_over(node.state)) {
      const auto user = node.user;
      unlink(found, first_finished_, last_finished_);
      --finished_;
      free_node(found);
      let_user_go(user, now);
    } else {
      disarm(found);
      end(found, JobState::cancelled, now);
    }
  });
}

void MemoryQueue::revive(std::uint32_t slot, std::int64_t now) {
  auto& node = nodes_[slot];
  unlink(slot, first_dead_, last_dead_);
  --dead_;
  dead_bytes_ -= node.payload_bytes;
  node.failures = node.crashes = 0;
  node.cancel_requested = false;
  node.ended_us = 0;
  if (node.cold) {
    node.cold->end_status = Status::ok;
    node.cold->end_message.clear();
  }
  mark(slot, change::story);
  ++totals_.requeued;
  make_available(slot, now, true);
  emit(EventType::requeued, node, Status::ok, now);
  if (blocked_ != 0) room_changed_.notify_all();
}

Result<void> MemoryQueue::requeue(const JobId& id) {
  std::unique_lock lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  const auto slot = slot_of(id);
  if (slot == none) return unknown_job(id);
  if (nodes_[slot].state != JobState::dead) {
    return no_dead_letter(id, nodes_[slot].state);
  }
  revive(slot, now);
  return settled(lock);
}

Result<BulkOutcome> MemoryQueue::requeue_many(const JobFilter& filter, const std::string& cursor) {
  GF_TRYV(check_requeue(filter));
  return bulk(filter, cursor, [this](std::uint32_t found, std::int64_t now) { revive(found, now); });
}

// ---- The queue as a whole -------------------------------------------------------------------------------------------

Result<void> MemoryQueue::set_paused(bool paused) {
  const std::lock_guard lock(mutex_);
  paused_ = paused;
  if (!paused) work_changed_.notify_all();
  return success();
}

Result<bool> MemoryQueue::drain(std::int64_t timeout_us) {
  GF_TRYV(check_timeout(timeout_us));
  std::unique_lock lock(mutex_);
  paused_ = true;
  auto now = now_us();
  const auto until_us = now + std::min(timeout_us, longest_timeout_us);
  for (;;) {
    while (sweep_some(now, sweep_budget)) {
    }
    if (running_ == 0) return true;
    if (until_us <= now) return false;
    auto wake_us = until_us;
    if (const auto due = next_due_us()) wake_us = std::min(wake_us, *due);
    ++drainers_;
    wait(lock, idle_changed_, wake_us);
    --drainers_;
    now = now_us();
  }
}

Result<Statistics> MemoryQueue::statistics() {
  Statistics out;
  const std::lock_guard lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  std::int64_t oldest = now;
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    const auto priority = static_cast<Priority>(lane);
    out.waiting[lane] = lanes_.waiting(priority);
    out.payload_bytes += lane_bytes_[lane];
    if (const auto slot = lanes_.oldest_slot(priority); slot != none) {
      oldest = std::min(oldest, nodes_[slot].available_us);
    }
  }
  out.oldest_waiting_us = now - oldest;
  out.delayed = delayed_;
  out.running = running_;
  out.dead = dead_;
  out.finished_kept = finished_;
  out.dead_bytes = dead_bytes_;
  out.users = users_.count();
  out.paused = paused_;
  out.totals = totals_;
  out.wait = wait_;
  out.run = run_;
  return out;
}

Result<UserStatistics> MemoryQueue::user_statistics(const std::string& user) {
  const std::lock_guard lock(mutex_);
  const auto number = users_.find(user);
  if (number == Names::none) return UserStatistics{};
  return UserStatistics{lanes_.waiting_of(number), lanes_.running_of(number)};
}

Result<EventPage> MemoryQueue::events(std::uint64_t after, std::uint32_t limit, std::int64_t timeout_us) {
  GF_TRYV(check_timeout(timeout_us));
  EventPage page;
  std::unique_lock lock(mutex_);
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::microseconds(std::min(timeout_us, longest_timeout_us));
  if (ring_.empty()) return makes_no_events();
  ++watchers_;
  events_changed_.wait_until(lock, until, [&] { return closed_ || last_event_ > after; });
  --watchers_;
  auto from = after + 1;
  if (last_event_ != 0 && from < oldest_event_) {
    page.missed = oldest_event_ - from;
    from = oldest_event_;
  }
  page.next = after;
  for (; from <= last_event_ && page.events.size() < limit; ++from) {
    page.events.push_back(ring_[from % ring_.size()]);
    page.next = from;
  }
  return page;
}

Result<void> MemoryQueue::configure(const QueueOptions& options) {
  GF_TRYV(check(options));
  const std::lock_guard lock(mutex_);
  if (options.kept_events != options_.kept_events) {
    std::vector<QueueEvent> ring(options.kept_events);
    if (!ring.empty()) {
      const auto kept = std::min<std::uint64_t>(last_event_ + 1 - oldest_event_, ring.size());
      oldest_event_ = last_event_ + 1 - kept;
      for (auto at = oldest_event_; at <= last_event_; ++at) ring[at % ring.size()] = ring_[at % ring_.size()];
    } else {
      oldest_event_ = last_event_ + 1;
    }
    ring_.swap(ring);
  }
  options_ = options;
  const auto now = now_us();
  lanes_.set_rules(options_.lanes, now);
  while (finished_ > options_.kept_finished) trim(now);
  work_changed_.notify_all();
  room_changed_.notify_all();
  return success();
}

bool MemoryQueue::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void MemoryQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  work_changed_.notify_all();
  room_changed_.notify_all();
  events_changed_.notify_all();
  idle_changed_.notify_all();
}

}  // namespace gf::queue
