#include "queue/memory_queue.hpp"

#include "queue/memory_queue_journal.hpp"
#include "queue/memory_queue_node.hpp"

#include "base/mix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace gf::queue {

Result<std::unique_ptr<MemoryQueue>> MemoryQueue::create(MemoryQueueOptions options) {
  GF_TRYV(check(options.queue));
  if (options.clock == nullptr) return Error{Status::invalid_argument, "clock is null", {}};
  const auto journal = std::move(options.journal);
  std::unique_ptr<MemoryQueue> queue(new MemoryQueue(std::move(options)));
  if (journal) {
    GF_TRYV(queue->restore(*journal));
  }
  return queue;
}

MemoryQueue::MemoryQueue(MemoryQueueOptions options)
    : clock_(*options.clock),
      log_(options.log),
      offset_us_(options.clock->unix_us() - options.clock->now_us()),
      options_(std::move(options.queue)),
      random_state_(options.seed == 0 ? random_bits() : options.seed) {
  ring_.resize(options_.kept_events);
  lanes_.set_rules(options_.lanes, now_us());
}

std::uint64_t MemoryQueue::random() {
  // Ids and jitter need no secrecy, and a system call each would cost more than the rest of an enqueue.
  return split_mix(random_state_ += split_mix_step);
}

// ---- Slots and lists ------------------------------------------------------------------------------------------------

std::uint32_t MemoryQueue::make_node() {
  auto slot = first_free_;
  if (slot == none) {
    slot = node_count_;
    nodes_.reserve(slot + 1);
    lanes_.reserve(slot + 1);
    if (journaling_) journaling_->places.reserve(slot + 1);
    ++node_count_;
  } else {
    first_free_ = nodes_[slot].next;
  }
  nodes_[slot].used = true;
  return slot;
}

void MemoryQueue::free_node(std::uint32_t slot) {
  auto& node = nodes_[slot];
  index_.erase(node.id, slot);
  if (journaling_) journaling_->leave(slot);
  if (node.worker != none && workers_.let_go(node.worker)) workers_.forget(node.worker);
  node = Node{};
  node.next = first_free_;
  first_free_ = slot;
  --live_;
}

void MemoryQueue::link(std::uint32_t slot, std::uint32_t& first, std::uint32_t& last) {
  nodes_[slot].previous = last;
  nodes_[slot].next = none;
  (last == none ? first : nodes_[last].next) = slot;
  last = slot;
}

void MemoryQueue::unlink(std::uint32_t slot, std::uint32_t& first, std::uint32_t& last) {
  auto& node = nodes_[slot];
  (node.previous == none ? first : nodes_[node.previous].next) = node.next;
  (node.next == none ? last : nodes_[node.next].previous) = node.previous;
  node.previous = node.next = none;
}

void MemoryQueue::count_waiting(const Node& node, bool in) {
  const auto lane = static_cast<std::size_t>(node.priority);
  if (in) {
    ++lane_jobs_[lane];
    lane_bytes_[lane] += node.payload_bytes;
  } else {
    --lane_jobs_[lane];
    lane_bytes_[lane] -= node.payload_bytes;
    if (blocked_ != 0) room_changed_.notify_all();
  }
}

void MemoryQueue::emit(EventType type, const Node& node, Status status, std::int64_t now) {
  if (ring_.empty()) return;
  ++last_event_;
  ring_[last_event_ % ring_.size()] = QueueEvent{last_event_, type, node.id, node.takes, status, now};
  if (last_event_ - oldest_event_ >= ring_.size()) oldest_event_ = last_event_ - ring_.size() + 1;
  if (watchers_ != 0) events_changed_.notify_all();
}

void MemoryQueue::wake_one() {
  if (sleepers_ != 0) work_changed_.notify_one();
}

void MemoryQueue::wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                       std::optional<std::int64_t> until_us) {
  if (!until_us) {
    changed.wait(lock);
    return;
  }
  const auto left_us = std::clamp<std::int64_t>(*until_us - now_us(), 0, longest_timeout_us);
  changed.wait_until(lock, std::chrono::steady_clock::now() + std::chrono::microseconds(left_us));
}

// ---- Users and keys -------------------------------------------------------------------------------------------------

void MemoryQueue::let_user_go(std::uint32_t user, std::int64_t now) {
  if (!users_.let_go(user)) return;
  if (lanes_.is_idle(user, now)) {
    lanes_.forget(user);
    users_.forget(user);
  } else {
    // Room for it was made when the user came.
    resting_.push(lanes_.full_at_us(user), user,
                  [this](std::uint32_t at) -> std::uint32_t& { return resting_at_[at].at; });
  }
}

std::string_view MemoryQueue::key_of(const Node& node) const {
  if (!node.has_key) return {};
  Texts texts(node);
  texts.next();
  return texts.next();
}

void MemoryQueue::drop_key(std::uint32_t key) {
  auto& held = held_keys_[key];
  if (held.expiry_at != none) {
    key_expiry_.remove(key, [this](std::uint32_t at) -> std::uint32_t& { return held_keys_[at].expiry_at; });
  }
  if (journaling_) journaling_->leave_key(key);
  keys_.let_go(key);
  keys_.forget(key);
}

std::uint32_t MemoryQueue::slot_of(const JobId& id) const {
  const auto slot = index_.find(id, id_of());
  return slot == none || nodes_[slot].arriving ? none : slot;
}

/// The user's number, for which there is one job more now. Throws bad_alloc, and has changed nothing then.
std::uint32_t MemoryQueue::hold_user(const std::string& name) {
  const auto user = users_.hold(name);
  try {
    lanes_.reserve_users(user + 1);
    resting_at_.reserve(users_.size());
    resting_.reserve(users_.size());
  } catch (const std::bad_alloc&) {
    if (users_.let_go(user) && (user >= resting_at_.size() || resting_at_[user].at == none)) users_.forget(user);
    throw;
  }
  return user;
}

void MemoryQueue::let_key_go(const Node& node, bool only_started) {
  if (!node.has_key) return;
  const auto key = keys_.find(key_of(node));
  if (key == Names::none || held_keys_[key].id != node.id) return;  // It was let go, and may be another's by now.
  const auto scope = held_keys_[key].scope;
  if (scope == KeyScope::until_started || (scope == KeyScope::until_finished && !only_started)) drop_key(key);
}

// ---- Admission ------------------------------------------------------------------------------------------------------

std::optional<Error> MemoryQueue::lack_of_room(const NewJob& job, bool* queue_wide) const {
  const auto lane = static_cast<std::size_t>(job.priority);
  const auto full = [&](std::string what, std::uint64_t has, std::uint64_t limit, std::string_view unit) {
    return Error{Status::queue_full, fmt::format("{} has {} {} of at most {}", what, has, unit, limit), {}};
  };
  if (queue_wide != nullptr) *queue_wide = false;
  const auto lane_name = [&] { return fmt::format("the lane {}", name_of(job.priority)); };
  const auto& of_lane = options_.lane_depth[lane];
  if (of_lane.jobs != 0 && lane_jobs_[lane] >= of_lane.jobs) {
    return full(lane_name(), lane_jobs_[lane], of_lane.jobs, "jobs");
  }
  if (of_lane.bytes != 0 && lane_bytes_[lane] + job.payload.size() > of_lane.bytes) {
    return full(lane_name(), lane_bytes_[lane], of_lane.bytes, "bytes");
  }
  if (queue_wide != nullptr) *queue_wide = true;
  std::uint64_t jobs = 0;
  std::uint64_t bytes = 0;
  for (std::size_t at = 0; at < lane_count; ++at) {
    jobs += lane_jobs_[at];
    bytes += lane_bytes_[at];
  }
  auto limit = options_.depth.jobs;
  if (limit != 0) {
    if (job.priority != Priority::high) limit -= std::min(limit, options_.reserved_for_high);
    if (jobs >= limit) return full("the queue", jobs, limit, "jobs");
  }
  if (options_.depth.bytes != 0 && bytes + job.payload.size() > options_.depth.bytes) {
    return full("the queue", bytes, options_.depth.bytes, "bytes");
  }
  return std::nullopt;
}

Result<void> MemoryQueue::make_room(const NewJob& job, std::int64_t now) {
  // Dead letters first: where they are full, dropping would only move the trouble.
  if (options_.dead_overflow == DeadOverflow::refuse) {
    if (options_.max_dead != 0 && dead_ >= options_.max_dead) {
      return Error{Status::queue_full,
                   fmt::format("the dead letters are full: {} of at most {} jobs", dead_, options_.max_dead),
                   {}};
    }
    if (options_.max_dead_bytes != 0 && dead_bytes_ >= options_.max_dead_bytes) {
      return Error{
          Status::queue_full,
          fmt::format("the dead letters are full: {} of at most {} bytes", dead_bytes_, options_.max_dead_bytes),
          {}};
    }
  }
  bool queue_wide = false;
  auto lack = lack_of_room(job, &queue_wide);
  if (!lack) return success();
  if (options_.overflow == Overflow::reject) return std::move(*lack);
  // One job is dropped for one that comes, never more: where that is not enough, bytes are short, and nothing is lost
  // for an enqueue that is refused all the same.
  auto lane = lane_count - 1;
  const auto own = static_cast<std::size_t>(job.priority);
  if (!queue_wide) lane = own;
  while (lane > own && lanes_.waiting(static_cast<Priority>(lane)) == 0) --lane;
  const auto victim = lanes_.oldest_slot(static_cast<Priority>(lane));
  if (victim == none) return std::move(*lack);
  auto& node = nodes_[victim];
  count_waiting(node, false);
  auto still = lack_of_room(job, nullptr);
  count_waiting(node, true);
  if (still) return std::move(*still);
  ++totals_.dropped;
  disarm(victim);
  kill(victim, Status::queue_full, "dropped to make room for a newer job", now);
  return success();
}

Result<Enqueued> MemoryQueue::admit(NewJob& job, std::unique_ptr<char[]>& blob, std::uint32_t blob_bytes,
                                    std::int64_t now) {
  if (closed_) return queue_is_closed();
  const auto& wish = job.idempotency;
  if (!wish.key.empty()) {
    if (const auto key = keys_.find(wish.key); key != Names::none) {
      const auto& holder = held_keys_[key];
      if (holder.scope == KeyScope::for_time && holder.expires_us <= now) {
        drop_key(key);
      } else {
        ++totals_.duplicates;
        const auto slot = index_.find(holder.id, id_of());
        // A job that is over and no longer kept was done, as far as anybody can tell.
        const auto state = slot == none ? JobState::done : nodes_[slot].state;
        if (wish.on_duplicate == OnDuplicate::join) return Enqueued{holder.id, true, state};
        return Error{
            Status::already_exists,
            fmt::format("the key {} is held by job {}, which is {}", wish.key, to_text(holder.id), name_of(state)),
            {}};
      }
    }
  }
  if (job.id.is_nil()) {
    job.id = ids_.make(now, random());
  } else if (index_.find(job.id, id_of()) != none) {
    return Error{Status::already_exists, fmt::format("job {} is in the queue already", to_text(job.id)), {}};
  }
  const bool late = job.deadline_us && *job.deadline_us <= 0;
  if (!late) {
    auto room = make_room(job, now);
    if (!room) return std::move(room).as_failure();
  }
  if (!wish.key.empty() && options_.max_idempotency_keys != 0 && keys_.count() >= options_.max_idempotency_keys) {
    return Error{
        Status::queue_full,
        fmt::format("the idempotency keys are full: {} of at most {}", keys_.count(), options_.max_idempotency_keys),
        {}};
  }

  // All that may throw comes first.
  std::int64_t deadline = job.deadline_us ? now + *job.deadline_us : 0;
  if (const auto age_us = max_age_us(options_, job.priority);
      age_us != 0 && (deadline == 0 || deadline > now + age_us)) {
    deadline = now + age_us;
  }
  index_.reserve(live_ + 1);
  timers_.reserve(live_ + 1);
  if (deadline != 0) deadlines_.reserve(with_deadline_ + 1);
  if (journaling_) journaling_->reserve(live_ + 1, keys_.count() + 1);
  const auto user = hold_user(job.user);
  std::uint32_t key = none;
  std::uint32_t slot = none;
  try {
    if (!wish.key.empty()) {
      key = keys_.hold(wish.key);
      held_keys_.reserve(keys_.size());
      if (journaling_) journaling_->key_numbers.reserve(keys_.size());
      key_expiry_.reserve(keys_.count());
    }
    slot = make_node();
  } catch (const std::bad_alloc&) {
    if (key != none) {
      keys_.let_go(key);
      keys_.forget(key);
    }
    if (users_.let_go(user) && resting_at_[user].at == none) users_.forget(user);
    throw;
  }
  if (resting_at_[user].at != none) {
    resting_.remove(user, [this](std::uint32_t at) -> std::uint32_t& { return resting_at_[at].at; });
  }
  auto& node = nodes_[slot];
  node.id = job.id;
  node.blob = std::move(blob);
  node.blob_bytes = blob_bytes;
  node.payload_bytes = static_cast<std::uint32_t>(job.payload.size());
  node.attachment = std::move(job.attachment);
  node.enqueued_us = node.available_us = now;
  node.deadline_us = deadline;
  node.base_us = job.retry.base_us;
  node.cap_us = job.retry.cap_us;
  node.max_attempts = static_cast<std::uint16_t>(job.retry.max_attempts);
  node.user = user;
  node.priority = job.priority;
  node.has_key = key != none;
  if (key != none) {
    auto& held = held_keys_[key];
    held = HeldKey{node.id, wish.scope, now + wish.ttl_us, none};
    if (wish.scope == KeyScope::for_time) {
      key_expiry_.push(held.expires_us, key,
                       [this](std::uint32_t at) -> std::uint32_t& { return held_keys_[at].expiry_at; });
    }
  }
  index_.insert(node.id, slot);
  ++live_;
  if (deadline != 0) ++with_deadline_;
  Enqueued answer{node.id, false, JobState::waiting};
  if (late) {
    answer.state = JobState::expired;
  } else if (job.delay_us > 0) {
    answer.state = JobState::delayed;
    node.available_us = now + job.delay_us;
  }
  if (journaling_) {
    announce(slot, key, late);
    return answer;
  }
  ++totals_.accepted;
  emit(EventType::accepted, node, Status::ok, now);
  if (late) {
    end(slot, JobState::expired, now);
  } else {
    if (job.delay_us > 0) {
      make_delayed(slot, node.available_us);
    } else {
      make_available(slot, now, true);
    }
    arm_deadline(slot);
  }
  return answer;
}

Result<Enqueued> MemoryQueue::enqueue(NewJob job, std::int64_t timeout_us) {
  GF_TRYV(check_timeout(timeout_us));
  std::optional<std::int64_t> until_us;
  std::unique_ptr<char[]> blob;
  std::uint32_t blob_bytes = 0;
  bool checked = false;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (!checked) {
      // With the lock for the options; the texts are copied without it.
      GF_TRYV(check(job, options_));
      checked = true;
      const auto bytes = job.payload.size() + (Texts::any(job) ? Texts::bytes_of(job) : 0);
      if (bytes != 0) {
        lock.unlock();
        blob.reset(new char[bytes]);
        std::copy(job.payload.begin(), job.payload.end(), blob.get());
        if (Texts::any(job)) Texts::write(job, blob.get() + job.payload.size());
        blob_bytes = static_cast<std::uint32_t>(bytes);
        lock.lock();
      }
    }
    const auto now = now_us();
    sweep_some(now, sweep_budget);
    if (journaling_ && meets_an_arrival(job)) {
      (void)settle(lock, true);
      continue;
    }
    auto admitted = admit(job, blob, blob_bytes, now);
    if (journaling_ && admitted && !admitted.value().duplicate) {
      GF_TRYV(settle(lock, true));
    }
    if (admitted || admitted.error().status != Status::queue_full) return admitted;
    if (!until_us) until_us = now + std::min(timeout_us, longest_timeout_us);
    if (*until_us <= now) {
      ++totals_.rejected;
      return admitted;
    }
    ++blocked_;
    auto wake_us = *until_us;
    if (const auto due = next_due_us()) wake_us = std::min(wake_us, *due);
    wait(lock, room_changed_, wake_us);
    --blocked_;
  }
}

std::vector<Result<Enqueued>> MemoryQueue::enqueue_many(std::vector<NewJob> jobs) {
  std::vector<Result<Enqueued>> answers;
  answers.reserve(jobs.size());
  std::vector<std::pair<std::unique_ptr<char[]>, std::uint32_t>> blobs(jobs.size());
  for (std::size_t at = 0; at < jobs.size(); ++at) {
    const auto bytes = jobs[at].payload.size() + (Texts::any(jobs[at]) ? Texts::bytes_of(jobs[at]) : 0);
    // What check() will refuse is not copied, since its texts may not fit their lengths.
    if (bytes == 0 || bytes > std::numeric_limits<std::uint32_t>::max() ||
        std::ranges::any_of(jobs[at].tags, [](const auto& tag) { return tag.size() > max_name_bytes; }) ||
        jobs[at].tags.size() > max_tags) {
      continue;
    }
    blobs[at].first.reset(new char[bytes]);
    std::copy(jobs[at].payload.begin(), jobs[at].payload.end(), blobs[at].first.get());
    if (Texts::any(jobs[at])) Texts::write(jobs[at], blobs[at].first.get() + jobs[at].payload.size());
    blobs[at].second = static_cast<std::uint32_t>(bytes);
  }
  std::unique_lock lock(mutex_);
  auto now = now_us();
  sweep_some(now, sweep_budget);
  std::size_t answered = 0;  // Whose answers the journal has.
  const auto settle_these = [&] {
    if (!journaling_) return;
    auto kept = settle(lock, true);
    for (; answered < answers.size(); ++answered) {
      if (!kept && answers[answered] && !answers[answered].value().duplicate) answers[answered] = kept.error();
    }
  };
  for (std::size_t at = 0; at < jobs.size(); ++at) {
    auto fine = check(jobs[at], options_);
    if (!fine) {
      answers.emplace_back(std::move(fine).as_failure());
      continue;
    }
    while (journaling_ && meets_an_arrival(jobs[at])) {
      settle_these();
      now = now_us();
    }
    try {
      answers.push_back(admit(jobs[at], blobs[at].first, blobs[at].second, now));
    } catch (const std::bad_alloc&) {
      // The others are in, or may still find room: their answers must not go with this one.
      answers.emplace_back(Error{Status::out_of_host_memory, {}, {}});
    }
    if (!answers.back() && answers.back().error().status == Status::queue_full) ++totals_.rejected;
  }
  settle_these();
  return answers;
}

// ---- Waiting and running --------------------------------------------------------------------------------------------

void MemoryQueue::make_available(std::uint32_t slot, std::int64_t now, bool fresh) {
  auto& node = nodes_[slot];
  if (fresh) {
    node.sequence = ++sequence_;
    node.available_us = now;
  }
  node.state = JobState::waiting;
  mark(slot, change::state);
  enter_lane(slot);
}

void MemoryQueue::enter_lane(std::uint32_t slot) {
  const auto& node = nodes_[slot];
  count_waiting(node, true);
  waiting_bytes_[static_cast<std::size_t>(node.priority)] += node.payload_bytes;
  lanes_.push(slot, node.priority, node.user, node.sequence, node.available_us);
  wake_one();
}

void MemoryQueue::make_delayed(std::uint32_t slot, std::int64_t until_us) {
  auto& node = nodes_[slot];
  node.state = JobState::delayed;
  node.available_us = until_us;
  mark(slot, change::state);
  enter_delay(slot);
}

void MemoryQueue::enter_delay(std::uint32_t slot) {
  const auto& node = nodes_[slot];
  count_waiting(node, true);
  ++delayed_;
  timers_.push(node.available_us, slot, timer_place());
  if (timers_.top().slot == slot) wake_one();  // Whoever sleeps has to get up earlier.
}

void MemoryQueue::arm_deadline(std::uint32_t slot) {
  auto& node = nodes_[slot];
  if (node.deadline_us == 0) return;
  deadlines_.push(node.deadline_us, slot, deadline_place());
  if (deadlines_.top().slot == slot) wake_one();
}

/// Takes a job that waits or is delayed out of everything that would move it.
void MemoryQueue::disarm(std::uint32_t slot) {
  auto& node = nodes_[slot];
  if (node.state == JobState::waiting) {
    if (lanes_.contains(slot)) lanes_.remove(slot);
    waiting_bytes_[static_cast<std::size_t>(node.priority)] -= node.payload_bytes;
    count_waiting(node, false);
  } else if (node.state == JobState::delayed) {
    --delayed_;
    count_waiting(node, false);
  }
  if (node.timer_at != none) timers_.remove(slot, timer_place());
  if (node.deadline_at != none) deadlines_.remove(slot, deadline_place());
}

std::uint32_t MemoryQueue::take(std::int64_t now, std::int64_t lease_us, std::uint32_t worker) {
  const auto slot = lanes_.take(now);
  if (slot == none) return none;
  auto& node = nodes_[slot];
  // The user's next job: in a long queue it left the caches long ago, and its turn comes soon.
  if (const auto next = lanes_.first_of(node.user, node.priority); next != none) {
    const auto* begin = reinterpret_cast<const char*>(&nodes_[next]);
    for (std::size_t line = 0; line < sizeof(Node); line += 64) __builtin_prefetch(begin + line);
  }
  disarm(slot);
  node.state = JobState::running;
  ++running_;
  ++node.takes;
  mark(slot, change::state);
  node.started_us = now;
  timers_.push(now + lease_us, slot, timer_place());
  if (timers_.top().slot == slot && lease_us < longest_timeout_us) wake_one();
  if (node.worker != none && workers_.let_go(node.worker)) workers_.forget(node.worker);
  node.worker = worker;
  if (worker != none) workers_.hold_again(worker);
  if (node.takes == 1) let_key_go(node, true);
  ++totals_.taken;
  wait_.add(now - node.available_us);
  emit(EventType::started, node, Status::ok, now);
  return slot;
}

Lease MemoryQueue::lease_of(std::uint32_t slot, std::int64_t expires_us) const {
  const auto& node = nodes_[slot];
  Lease lease;
  lease.key = {node.id, node.takes};
  lease.priority = node.priority;
  lease.user = users_.name(node.user);
  if (node.payload_bytes != 0) lease.payload.assign(node.blob.get(), node.payload_bytes);
  Texts texts(node);
  lease.content_type = texts.next();
  texts.next();
  const auto tags = texts.count();
  if (tags != 0) lease.tags.reserve(tags);
  for (std::size_t at = 0; at < tags; ++at) lease.tags.emplace_back(texts.next());
  lease.attachment = node.attachment;
  lease.attempt = std::uint32_t{node.failures} + 1;
  lease.enqueued_us = node.enqueued_us;
  lease.expires_at_us = expires_us;
  return lease;
}

template <class Got>
Result<void> MemoryQueue::reserve_with(const ReserveRequest& request, Got&& got) {
  GF_TRYV(check(request));
  std::unique_lock lock(mutex_);
  auto now = now_us();
  std::optional<std::int64_t> until_us;
  if (request.timeout_us) until_us = now + std::min(*request.timeout_us, longest_timeout_us);
  for (;;) {
    if (closed_) return queue_is_closed();
    const bool more = sweep_some(now, sweep_budget);
    if (!paused_ && lanes_.any(now)) {
      const auto lease_us = request.lease_us == 0 ? options_.lease_us : request.lease_us;
      const auto worker = request.worker.empty() ? none : workers_.hold(request.worker);
      struct LetGo {
        MemoryQueue& of;
        std::uint32_t worker;
        ~LetGo() {
          if (worker != none && of.workers_.let_go(worker)) of.workers_.forget(worker);
        }
      } let_go{*this, worker};
      std::uint32_t taken = 0;
      std::vector<LeaseKey> keys;
      if (journaling_) keys.reserve(request.count);
      while (taken < request.count) {
        const auto slot = take(now, lease_us, worker);
        if (slot == none) break;
        if (journaling_) keys.push_back({nodes_[slot].id, nodes_[slot].takes});
        try {
          got(lease_of(slot, now + lease_us));
        } catch (...) {  // There is no memory for its texts: it was not taken, but for its token.
          end_run(slot);
          make_available(slot, now, false);
          arm_deadline(slot);
          throw;
        }
        ++taken;
      }
      if (taken != 0) {
        if (sleepers_ != 0 && lanes_.any(now)) work_changed_.notify_one();
        if (journaling_) {
          // A token that the journal does not have could be given twice.
          if (auto kept = settle(lock, false); !kept) {
            for (const auto& key : keys) untake(key, now_us());
            return kept;
          }
        }
        return success();
      }
    }
    if (more) continue;
    if (until_us && *until_us <= now) return success();
    auto wake_us = until_us;
    if (const auto due = next_due_us(); due && (!wake_us || *due < *wake_us)) wake_us = due;
    ++sleepers_;
    wait(lock, work_changed_, wake_us);
    --sleepers_;
    now = now_us();
  }
}

/// Puts back what was taken and never handed out, but for its token.
void MemoryQueue::untake(const LeaseKey& key, std::int64_t now) {
  const auto slot = index_.find(key.id, id_of());
  if (slot == none || nodes_[slot].state != JobState::running || nodes_[slot].takes != key.fencing_token) return;
  end_run(slot);
  if (nodes_[slot].cancel_requested) {
    end(slot, JobState::cancelled, now);
    return;
  }
  make_available(slot, now, false);
  arm_deadline(slot);
}

Result<std::vector<Lease>> MemoryQueue::reserve(const ReserveRequest& request) {
  std::vector<Lease> leases;
  leases.reserve(std::min<std::uint32_t>(request.count, 1000));
  GF_TRYV(reserve_with(request, [&](Lease lease) { leases.push_back(std::move(lease)); }));
  return leases;
}

Result<std::optional<Lease>> MemoryQueue::reserve_one(const ReserveRequest& request) {
  std::optional<Lease> got;
  auto one = request.count == 1;
  if (!one) return Error{Status::invalid_argument, fmt::format("count is {}; it must be 1", request.count), {}};
  GF_TRYV(reserve_with(request, [&](Lease lease) { got.emplace(std::move(lease)); }));
  return got;
}

Result<std::uint32_t> MemoryQueue::held(const LeaseKey& key) {
  const auto slot = index_.find(key.id, id_of());
  if (slot == none || nodes_[slot].state != JobState::running || nodes_[slot].takes != key.fencing_token) {
    ++totals_.fenced_off;
    return Error{Status::lease_lost, fmt::format("lease {} of job {} is over", key.fencing_token, to_text(key.id)), {}};
  }
  return slot;
}

void MemoryQueue::end_run(std::uint32_t slot) {
  auto& node = nodes_[slot];
  --running_;
  if (node.timer_at != none) timers_.remove(slot, timer_place());
  lanes_.ended(node.user);
  if (running_ == 0 && drainers_ != 0) idle_changed_.notify_all();
  // The user may have been parked for running too many.
  if (sleepers_ != 0 && options_.lanes.user_running_limit != 0) wake_one();
}

MemoryQueue::Cold* MemoryQueue::cold_of(Node& node) noexcept {
  if (!node.cold) node.cold.reset(new (std::nothrow) Cold);
  return node.cold.get();
}

void MemoryQueue::note_attempt(std::uint32_t slot, AttemptEnd how, Status status, std::string_view message,
                               std::int64_t now) noexcept {
  auto& node = nodes_[slot];
  auto* cold = cold_of(node);
  if (cold == nullptr) return;
  try {
    Attempt attempt{node.takes, node.started_us, now, how, status, {}, cut_message(message)};
    if (node.worker != none) attempt.worker = workers_.name(node.worker);
    mark(slot, change::story);
    if (cold->history.size() >= max_history) cold->history.erase(cold->history.begin() + 1);
    cold->history.push_back(std::move(attempt));
  } catch (...) {  // The job goes on without this line of its history.
  }
}

/// The job is over, and in no list or heap any more.
void MemoryQueue::end(std::uint32_t slot, JobState state, std::int64_t now) {
  auto& node = nodes_[slot];
  node.state = state;
  node.ended_us = now;
  let_key_go(node, false);
  switch (state) {
    case JobState::done:
      ++totals_.done;
      run_.add(now - node.started_us);
      emit(EventType::done, node, Status::ok, now);
      break;
    case JobState::cancelled:
      ++totals_.cancelled;
      emit(EventType::cancelled, node, Status::cancelled, now);
      break;
    default:
      ++totals_.expired;
      emit(EventType::expired, node, Status::timed_out, now);
      break;
  }
  if (node.deadline_us != 0) --with_deadline_;
  node.attachment.reset();
  const auto user = node.user;
  if (options_.kept_finished == 0 || options_.kept_finished_us == 0) {
    free_node(slot);
    let_user_go(user, now);
    return;
  }
  // Nobody needs the payload any more.
  const auto texts = node.blob_bytes - node.payload_bytes;
  if (node.payload_bytes != 0) {
    std::unique_ptr<char[]> kept(texts == 0 ? nullptr : new (std::nothrow) char[texts]);
    if (kept || texts == 0) {
      if (kept) std::copy_n(node.blob.get() + node.payload_bytes, texts, kept.get());
      node.blob = std::move(kept);
    } else {
      std::memmove(node.blob.get(), node.blob.get() + node.payload_bytes, texts);
    }
    node.payload_bytes = 0;
    node.blob_bytes = texts;
  }
  mark(slot, static_cast<std::uint8_t>(change::state | change::payload | (node.cold ? change::story : 0)));
  if (journaling_) journaling_->note_end(slot);
  link(slot, first_finished_, last_finished_);
  if (++finished_ > options_.kept_finished) trim(now);
}

void MemoryQueue::trim(std::int64_t now) {
  const auto oldest = first_finished_;
  const auto user = nodes_[oldest].user;
  unlink(oldest, first_finished_, last_finished_);
  --finished_;
  free_node(oldest);
  let_user_go(user, now);
}

/// Into the dead letters, out of nothing: the caller has taken it out of everything else.
void MemoryQueue::kill(std::uint32_t slot, Status status, std::string_view message, std::int64_t now) noexcept {
  auto& node = nodes_[slot];
  node.state = JobState::dead;
  node.ended_us = now;
  let_key_go(node, false);
  if (node.deadline_us != 0) {
    --with_deadline_;
    node.deadline_us = 0;  // It would expire as soon as it is put back.
  }
  if (auto* cold = cold_of(node)) {
    cold->end_status = status;
    try {
      cold->end_message = cut_message(message);
    } catch (...) {  // The status says it shorter.
    }
  }
  mark(slot, change::state | change::story);
  if (journaling_) journaling_->note_end(slot);
  link(slot, first_dead_, last_dead_);
  ++dead_;
  dead_bytes_ += node.payload_bytes;
  ++totals_.died;
  emit(EventType::dead, node, status, now);
  if (options_.dead_overflow != DeadOverflow::expire_oldest) return;
  while ((options_.max_dead != 0 && dead_ > options_.max_dead) ||
         (options_.max_dead_bytes != 0 && dead_bytes_ > options_.max_dead_bytes && dead_ > 1)) {
    remove_dead(first_dead_, now, true);
  }
}

void MemoryQueue::remove_dead(std::uint32_t slot, std::int64_t now, bool expired) noexcept {
  auto& node = nodes_[slot];
  if (expired && log_ != nullptr && log_->enabled(LogLevel::warning)) {
    try {
      const auto status = node.cold ? node.cold->end_status : Status::internal;
      log_->write(LogLevel::warning, "queue",
                  fmt::format("dead letter {} expires: status {}, {}", to_text(node.id), static_cast<int>(status),
                              node.cold ? node.cold->end_message : std::string()));
    } catch (...) {  // A line that there is no memory for; the counter has it.
    }
  }
  unlink(slot, first_dead_, last_dead_);
  --dead_;
  dead_bytes_ -= node.payload_bytes;
  ++totals_.removed;
  emit(EventType::removed, node, Status::ok, now);
  const auto user = node.user;
  free_node(slot);
  let_user_go(user, now);
  if (blocked_ != 0) room_changed_.notify_all();
}

JobState MemoryQueue::put_back(std::uint32_t slot, std::int64_t delay_us, std::int64_t now) {
  end_run(slot);
  return count_crash(slot, delay_us, now);
}

JobState MemoryQueue::count_crash(std::uint32_t slot, std::int64_t delay_us, std::int64_t now) {
  auto& node = nodes_[slot];
  ++node.crashes;
  if (node.cancel_requested) {
    end(slot, JobState::cancelled, now);
    return JobState::cancelled;
  }
  if (node.crashes >= options_.max_crashes) {
    const auto worker = node.worker == none ? std::string_view() : std::string_view(workers_.name(node.worker));
    std::array<char, 256> text;
    const auto end = fmt::format_to_n(text.data(), text.size(), "worker died: {} leases ran out or were given back{}{}",
                                      node.crashes, worker.empty() ? "" : ", the last one of ", worker);
    kill(slot, Status::lease_lost, std::string_view(text.data(), std::min(end.size, text.size())), now);
    return JobState::dead;
  }
  if (delay_us > 0) {
    make_delayed(slot, now + delay_us);
  } else {
    make_available(slot, now, false);
  }
  arm_deadline(slot);
  return nodes_[slot].state;
}

Result<Heartbeat> MemoryQueue::extend(const LeaseKey& key, std::int64_t lease_us) {
  if (lease_us < 0 || lease_us > max_delay_us) {
    return Error{
        Status::invalid_argument, fmt::format("lease_us is {}; it must be 0 to {}", lease_us, max_delay_us), {}};
  }
  const std::lock_guard lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  GF_TRY(const auto slot, held(key));
  const auto expires_us = now + (lease_us == 0 ? options_.lease_us : lease_us);
  timers_.update(expires_us, slot, timer_place());
  if (timers_.top().slot == slot) wake_one();
  ++totals_.renewed;
  return Heartbeat{expires_us, nodes_[slot].cancel_requested};
}

Result<void> MemoryQueue::report_progress(const LeaseKey& key, const Progress& progress) {
  auto note = cut_message(progress.note);
  const std::lock_guard lock(mutex_);
  sweep_some(now_us(), sweep_budget);
  GF_TRY(const auto slot, held(key));
  auto* cold = cold_of(nodes_[slot]);
  if (cold == nullptr) return Error{Status::out_of_host_memory, "out of memory", {}};
  cold->progress = Progress{progress.done, progress.total, std::move(note)};
  return success();
}

Result<void> MemoryQueue::complete(const LeaseKey& key, JobResult result) {
  std::unique_ptr<char[]> blob;  // Freed after the lock is, as the next.
  std::shared_ptr<Attachment> attachment;
  std::unique_lock lock(mutex_);
  const auto bytes = result.reference.size() + result.bytes.size();
  if (bytes > options_.max_result_bytes) {
    return Error{Status::payload_too_large,
                 fmt::format("the result has {} bytes; max_result_bytes is {}", bytes, options_.max_result_bytes),
                 {}};
  }
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  GF_TRY(const auto slot, held(key));
  auto& node = nodes_[slot];
  if (bytes != 0) {
    auto* cold = cold_of(node);
    if (cold == nullptr) return Error{Status::out_of_host_memory, "out of memory", {}};
    cold->result = std::move(result);
  }
  end_run(slot);
  attachment = std::move(node.attachment);
  end(slot, JobState::done, now);
  return settled(lock);
}

std::vector<Result<void>> MemoryQueue::complete_many(std::vector<Completion> completions) {
  std::vector<Result<void>> answers;
  answers.reserve(completions.size());
  std::vector<std::shared_ptr<Attachment>> attachments;  // Freed after the lock is.
  attachments.reserve(completions.size());
  std::unique_lock lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  for (auto& completion : completions) {
    answers.push_back([&]() -> Result<void> {
      const auto bytes = completion.result.reference.size() + completion.result.bytes.size();
      if (bytes > options_.max_result_bytes) {
        return Error{Status::payload_too_large,
                     fmt::format("the result has {} bytes; max_result_bytes is {}", bytes, options_.max_result_bytes),
                     {}};
      }
      GF_TRY(const auto slot, held(completion.key));
      auto& node = nodes_[slot];
      if (bytes != 0) {
        auto* cold = cold_of(node);
        if (cold == nullptr) return Error{Status::out_of_host_memory, "out of memory", {}};
        cold->result = std::move(completion.result);
      }
      end_run(slot);
      attachments.push_back(std::move(node.attachment));
      end(slot, JobState::done, now);
      return success();
    }());
  }
  if (auto kept = settled(lock); !kept) {
    for (auto& answer : answers) {
      if (answer) answer = kept.error();
    }
  }
  return answers;
}

Result<FailOutcome> MemoryQueue::fail(const LeaseKey& key, const Failure& failure) {
  std::unique_lock lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  GF_TRY(const auto slot, held(key));
  auto& node = nodes_[slot];
  note_attempt(slot, AttemptEnd::failed, failure.status, failure.message, now);
  end_run(slot);
  ++totals_.failed;
  ++node.failures;
  if (node.cancel_requested) {
    end(slot, JobState::cancelled, now);
    GF_TRYV(settled(lock));
    return FailOutcome{JobState::cancelled, 0};
  }
  const bool retry = failure.action == FailureAction::retry ||
                     (failure.action == FailureAction::by_rules && is_retryable(failure.status, options_.retry_rules));
  if (!retry || node.failures >= node.max_attempts) {
    kill(slot, failure.status, failure.message, now);
    GF_TRYV(settled(lock));
    return FailOutcome{JobState::dead, 0};
  }
  ++totals_.retried;
  const auto wait_us = backoff_us({node.max_attempts, node.base_us, node.cap_us}, node.failures, random());
  if (wait_us > 0) {
    make_delayed(slot, now + wait_us);
  } else {
    make_available(slot, now, true);
  }
  arm_deadline(slot);
  emit(EventType::retried, node, failure.status, now);
  const FailOutcome outcome{node.state, wait_us};
  GF_TRYV(settled(lock));
  return outcome;
}

Result<FailOutcome> MemoryQueue::release(const LeaseKey& key, std::int64_t delay_us) {
  if (delay_us < 0 || delay_us > max_delay_us) {
    return Error{
        Status::invalid_argument, fmt::format("delay_us is {}; it must be 0 to {}", delay_us, max_delay_us), {}};
  }
  std::unique_lock lock(mutex_);
  const auto now = now_us();
  sweep_some(now, sweep_budget);
  GF_TRY(const auto slot, held(key));
  auto& node = nodes_[slot];
  note_attempt(slot, AttemptEnd::released, Status::ok, {}, now);
  ++totals_.released;
  emit(EventType::released, node, Status::ok, now);
  const FailOutcome outcome{put_back(slot, delay_us, now), delay_us};
  GF_TRYV(settled(lock));
  return outcome;
}

// ---- What is due ----------------------------------------------------------------------------------------------------

std::optional<std::int64_t> MemoryQueue::next_due_us() const {
  std::optional<std::int64_t> due;
  const auto earlier = [&](std::optional<std::int64_t> at) {
    if (at && (!due || *at < *due)) due = at;
  };
  if (!timers_.empty()) earlier(timers_.top().key);
  if (!deadlines_.empty()) earlier(deadlines_.top().key);
  earlier(lanes_.next_unpark_us());
  return due;
}

bool MemoryQueue::sweep_some(std::int64_t now, std::uint32_t budget) {
  for (; !timers_.empty() && timers_.top().key <= now; --budget) {
    if (budget == 0) return true;
    const auto slot = timers_.top().slot;
    auto& node = nodes_[slot];
    if (node.state == JobState::delayed) {
      timers_.remove(slot, timer_place());
      --delayed_;
      count_waiting(node, false);
      // It waits since it could run, not since somebody looked.
      make_available(slot, node.available_us, true);
    } else {
      note_attempt(slot, AttemptEnd::crashed, Status::lease_lost, "the lease ran out", now);
      ++totals_.recovered;
      emit(EventType::recovered, node, Status::lease_lost, now);
      put_back(slot, 0, now);
    }
  }
  for (; !deadlines_.empty() && deadlines_.top().key <= now; --budget) {
    if (budget == 0) return true;
    const auto slot = deadlines_.top().slot;
    disarm(slot);
    end(slot, JobState::expired, now);
  }
  while (first_finished_ != none && now - nodes_[first_finished_].ended_us >= options_.kept_finished_us) {
    if (budget-- == 0) return true;
    trim(now);
  }
  while (options_.max_dead_us != 0 && first_dead_ != none &&
         now - nodes_[first_dead_].ended_us >= options_.max_dead_us) {
    if (budget-- == 0) return true;
    remove_dead(first_dead_, now, true);
  }
  while (!key_expiry_.empty() && key_expiry_.top().key <= now) {
    if (budget-- == 0) return true;
    drop_key(key_expiry_.top().slot);
  }
  while (!resting_.empty() && resting_.top().key <= now) {
    if (budget-- == 0) return true;
    const auto user = resting_.top().slot;
    resting_.remove(user, [this](std::uint32_t at) -> std::uint32_t& { return resting_at_[at].at; });
    lanes_.forget(user);
    users_.forget(user);
  }
  return false;
}

Result<bool> MemoryQueue::sweep() {
  std::unique_lock lock(mutex_);
  const auto more = sweep_some(now_us(), bulk_budget);
  GF_TRYV(settled(lock));
  return more;
}

}  // namespace gf::queue
