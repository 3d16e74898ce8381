// The in-process queue with its journal: what goes into it, in which order, and what comes back.
//
// Calls change the queue under its lock and note the slots that changed. Who has to answer for a change waits for the
// batch that it is in: one of those who wait writes the batch, without the lock, for all of them, and the next batch
// gathers meanwhile. A batch is a state, not a log: a slot that changed twice is written once, and what could not be
// written is noted again. A new job is in no lane before the journal has it, so that nobody can have taken what is then
// refused.
#include "queue/memory_queue_journal.hpp"

#include "queue/memory_queue_node.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

namespace gf::queue {
namespace {

Error out_of_memory() { return {Status::out_of_host_memory, "out of memory", {}}; }

/// For each of those who wait. Where there is no memory for its words the status says it.
Result<void> copy_of(const Result<void>& answer) noexcept {
  if (answer) return success();
  try {
    return answer.error();
  } catch (const std::bad_alloc&) {
    return Error{answer.error().status, "out of memory", {}};
  }
}

}  // namespace

MemoryQueue::~MemoryQueue() {
  if (!journaling_) return;
  std::unique_lock lock(mutex_);
  (void)write_now(lock);
}

Result<void> MemoryQueue::write_now(std::unique_lock<std::mutex>& lock) {
  Journaling::Waiter me;
  me.batch = journaling_->collecting;
  me.next = std::exchange(journaling_->waiters, &me);
  commit(lock);
  return std::move(me.answer);
}

// ---- Arrivals -------------------------------------------------------------------------------------------------------

bool MemoryQueue::meets_an_arrival(const NewJob& job) const {
  const auto arrives = [this](const JobId& id) {
    const auto slot = index_.find(id, id_of());
    return slot != none && nodes_[slot].arriving;
  };
  if (!job.id.is_nil() && arrives(job.id)) return true;
  if (job.idempotency.key.empty()) return false;
  const auto key = keys_.find(job.idempotency.key);
  return key != Names::none && arrives(held_keys_[key].id);
}

/// Of a job that is complete but for its place. Does not throw: room was made.
void MemoryQueue::announce(std::uint32_t slot, std::uint32_t key, bool late) {
  auto& node = nodes_[slot];
  node.arriving = true;
  node.state = node.available_us > node.enqueued_us ? JobState::delayed : JobState::waiting;
  node.sequence = ++sequence_;
  if (!late) count_waiting(node, true);
  auto& place = journaling_->places[slot];
  place.number = ++journaling_->last_number;
  if (key != none) journaling_->key_numbers[key] = ++journaling_->last_key;
  journaling_->mark(slot, change::arrival);
}

/// The journal has it: from here on it is a job as any other.
void MemoryQueue::welcome(std::uint32_t slot, std::int64_t now) {
  auto& node = nodes_[slot];
  node.arriving = false;
  ++totals_.accepted;
  emit(EventType::accepted, node, Status::ok, now);
  if (node.deadline_us != 0 && node.deadline_us <= node.enqueued_us) {
    end(slot, JobState::expired, now);
    return;
  }
  count_waiting(node, false);
  if (node.state == JobState::delayed) {
    enter_delay(slot);
  } else {
    enter_lane(slot);
  }
  arm_deadline(slot);
}

/// The journal does not have it: it never was.
void MemoryQueue::turn_away(std::uint32_t slot, std::int64_t now) {
  auto& node = nodes_[slot];
  if (node.deadline_us == 0 || node.deadline_us > node.enqueued_us) count_waiting(node, false);
  if (node.deadline_us != 0) --with_deadline_;
  if (node.has_key) {
    const auto key = keys_.find(key_of(node));
    if (key != Names::none && held_keys_[key].id == node.id) {
      journaling_->key_numbers[key] = 0;
      drop_key(key);
    }
  }
  const auto user = node.user;
  journaling_->places[slot].number = 0;
  free_node(slot);
  let_user_go(user, now);
}

// ---- Batches --------------------------------------------------------------------------------------------------------

Result<void> MemoryQueue::settle(std::unique_lock<std::mutex>& lock, bool arrives) {
  auto& journaling = *journaling_;
  Journaling::Waiter me;
  me.arrives = arrives;
  me.batch = journaling.collecting;
  if (!journaling.has_changes()) {
    // What this call noted is never in a batch that is written already; what it met may be.
    if (!journaling.writing) return success();
    --me.batch;
  }
  me.next = std::exchange(journaling.waiters, &me);
  while (!me.done) {
    if (journaling.writing) {
      journaling.written.wait(lock);
    } else {
      commit(lock);
    }
  }
  return std::move(me.answer);
}

Result<void> MemoryQueue::settle_done(std::unique_lock<std::mutex>& lock) {
  auto kept = settle(lock, false);
  if (kept) return kept;
  auto error = std::move(kept).error();
  const auto status = error.status;
  auto message = fmt::format("it is done, and the journal does not have it yet: {}", error.message);
  return wrap(std::move(error), status, std::move(message));
}

/// What changed, into the batch. Throws bad_alloc, and has changed nothing then.
void MemoryQueue::collect() {
  auto& journaling = *journaling_;
  auto& batch = journaling.batch;
  batch.clear();
  batch.gone = journaling.gone;
  batch.gone_keys = journaling.gone_keys;
  for (auto slot = journaling.first_changed; slot != none; slot = journaling.places[slot].next) {
    const auto& place = journaling.places[slot];
    const auto& node = nodes_[slot];
    auto& entry = batch.entries.emplace_back();
    entry.slot = slot;
    entry.changes = place.changes;
    entry.is_new = node.arriving;
    auto& job = entry.job;
    job.number = place.number;
    job.state = node.state;
    job.available_us = node.available_us;
    job.deadline_us = node.deadline_us;
    job.sequence = node.sequence;
    if (entry.is_new) {
      ++batch.new_jobs;
      job.id = node.id;
      job.priority = node.priority;
      job.retry = {node.max_attempts, node.base_us, node.cap_us};
      job.user = users_.name(node.user);
      job.enqueued_us = node.enqueued_us;
      job.has_key = node.has_key;
      // Nobody touches what arrives before the batch is written.
      entry.payload = std::string_view(node.blob.get(), node.payload_bytes);
      entry.texts = std::string_view(node.blob.get() + node.payload_bytes, node.blob_bytes - node.payload_bytes);
      if (node.has_key) {
        const auto key = keys_.find(key_of(node));
        if (key != Names::none && held_keys_[key].id == node.id) {
          const auto& held = held_keys_[key];
          entry.key = JournalKey{journaling.key_numbers[key], keys_.name(key), held.id, held.scope, held.expires_us};
        }
      }
      continue;
    }
    job.started_us = node.started_us;
    job.ended_us = node.ended_us;
    job.end_order = place.end_order;
    job.fencing_token = node.takes;
    job.failures = node.failures;
    job.crashes = node.crashes;
    job.cancel_requested = node.cancel_requested;
    if (node.worker != none) job.worker = workers_.name(node.worker);
    entry.drops_payload = (place.changes & change::payload) != 0;
    if ((place.changes & change::story) != 0 && node.cold) {
      const auto& cold = *node.cold;
      entry.story = std::make_unique<JournalStory>(
          JournalStory{cold.history, cold.progress, cold.result, cold.end_status, cold.end_message});
    }
  }
  batch.totals = totals_;
  batch.last_event = last_event_;
  batch.now_us = now_us();
}

/// Writes what changed, and answers those who wait for it. Nobody else writes.
void MemoryQueue::commit(std::unique_lock<std::mutex>& lock) {
  auto& journaling = *journaling_;
  auto& batch = journaling.batch;
  const auto number = journaling.collecting++;
  Result<void> of_new = success();
  Result<void> of_rest = success();
  bool collected = true;
  try {
    collect();
  } catch (const std::bad_alloc&) {
    collected = false;
    of_new = out_of_memory();
    of_rest = out_of_memory();
  }
  if (collected) {
    for (const auto& entry : batch.entries) journaling.unmark(entry.slot);
    journaling.writing = true;
    lock.unlock();
    of_new = journaling.journal->write(batch, true);
    // A new job may be what there is no room for; what is in goes on without it.
    const bool has_rest = batch.new_jobs < batch.entries.size() || !batch.gone.empty() || !batch.gone_keys.empty();
    if (!of_new && batch.new_jobs != 0 && has_rest) {
      of_rest = journaling.journal->write(batch, false);
    } else {
      of_rest = copy_of(of_new);
    }
    lock.lock();
    journaling.writing = false;
    const auto now = now_us();
    if (of_rest) {
      const auto erase = [](std::vector<std::int64_t>& list, std::size_t count) {
        list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count));
      };
      erase(journaling.gone, batch.gone.size());
      erase(journaling.gone_keys, batch.gone_keys.size());
    }
    for (const auto& entry : batch.entries) {
      if (entry.is_new) {
        of_new ? welcome(entry.slot, now) : turn_away(entry.slot, now);
      } else if (!of_rest && journaling.places[entry.slot].number == entry.job.number) {
        journaling.mark(entry.slot, entry.changes);
      }
    }
    batch.clear();
  } else {
    const auto now = now_us();
    for (auto slot = journaling.first_changed; slot != none;) {
      const auto next = journaling.places[slot].next;
      if (nodes_[slot].arriving) turn_away(slot, now);
      slot = next;
    }
  }
  for (auto** at = &journaling.waiters; *at != nullptr;) {
    auto& waiter = **at;
    if (waiter.batch > number) {
      at = &waiter.next;
      continue;
    }
    *at = waiter.next;
    waiter.answer = copy_of(waiter.arrives ? of_new : of_rest);
    waiter.done = true;
  }
  journaling.written.notify_all();
}

// ---- What comes back ------------------------------------------------------------------------------------------------

Result<std::uint32_t> MemoryQueue::restore_job(JournalRow& row) {
  const auto& job = row.job;
  const auto damaged = [&](std::string_view what) {
    return Error{
        Status::corrupt_file,
        fmt::format("the journal {} is damaged: job {} {}", journaling_->journal->path(), to_text(job.id), what),
        {}};
  };
  if (index_.find(job.id, id_of()) != none) return damaged("is there twice");
  if (!Texts::fits(row.texts)) return damaged("has texts that are none");
  if (row.payload.size() > std::uint64_t{1} << 30) return damaged("has a payload that is too long");
  index_.reserve(live_ + 1);
  timers_.reserve(live_ + 1);
  deadlines_.reserve(with_deadline_ + 1);
  journaling_->reserve(live_ + 1, 0);
  const auto bytes = row.payload.size() + row.texts.size();
  std::unique_ptr<char[]> blob(bytes == 0 ? nullptr : new char[bytes]);
  if (bytes != 0) std::ranges::copy(row.texts, std::ranges::copy(row.payload, blob.get()).out);
  std::unique_ptr<Cold> cold;
  if (row.story) {
    auto& story = *row.story;
    cold.reset(new Cold{std::move(story.history), std::move(story.progress), std::move(story.result), story.end_status,
                        std::move(story.end_message)});
  }
  // An object that could not be made is thrown away whole, so that nothing here is undone.
  const auto user = hold_user(job.user);
  const auto worker = job.worker.empty() ? none : workers_.hold(job.worker);
  const auto slot = make_node();
  auto& node = nodes_[slot];
  node.id = job.id;
  node.blob = std::move(blob);
  node.blob_bytes = static_cast<std::uint32_t>(bytes);
  node.payload_bytes = static_cast<std::uint32_t>(row.payload.size());
  node.cold = std::move(cold);
  node.enqueued_us = job.enqueued_us;
  node.available_us = job.available_us;
  node.deadline_us = job.deadline_us;
  node.started_us = job.started_us;
  node.ended_us = job.ended_us;
  node.base_us = job.retry.base_us;
  node.cap_us = job.retry.cap_us;
  node.sequence = job.sequence;
  node.user = user;
  node.worker = worker;
  node.takes = static_cast<std::uint32_t>(job.fencing_token);
  node.failures = static_cast<std::uint16_t>(job.failures);
  node.crashes = static_cast<std::uint16_t>(job.crashes);
  node.max_attempts = static_cast<std::uint16_t>(job.retry.max_attempts);
  node.state = job.state;
  node.priority = job.priority;
  node.cancel_requested = job.cancel_requested;
  node.has_key = job.has_key;
  if (node.has_key && key_of(node).empty()) return damaged("has a key without a name");
  index_.insert(node.id, slot);
  ++live_;
  if (node.deadline_us != 0 && !is_over(node.state)) ++with_deadline_;
  auto& place = journaling_->places[slot];
  place.number = job.number;
  place.end_order = job.end_order;
  journaling_->last_number = std::max(journaling_->last_number, job.number);
  journaling_->last_end = std::max(journaling_->last_end, job.end_order);
  sequence_ = std::max(sequence_, job.sequence);
  return slot;
}

Result<void> MemoryQueue::restore_key(const JournalKey& key) {
  const auto damaged = [&](std::string_view what) {
    return Error{Status::corrupt_file,
                 fmt::format("the journal {} is damaged: the key {} {}", journaling_->journal->path(), key.name, what),
                 {}};
  };
  if (keys_.find(key.name) != Names::none) return damaged("is there twice");
  if (key.scope != KeyScope::for_time && index_.find(key.id, id_of()) == none) return damaged("has no holder");
  const auto at = keys_.hold(key.name);
  held_keys_.reserve(keys_.size());
  journaling_->key_numbers.reserve(keys_.size());
  journaling_->reserve(live_, keys_.count());
  key_expiry_.reserve(keys_.count());
  auto& held = held_keys_[at];
  held = HeldKey{key.id, key.scope, key.expires_us, none};
  if (key.scope == KeyScope::for_time) {
    key_expiry_.push(held.expires_us, at,
                     [this](std::uint32_t of) -> std::uint32_t& { return held_keys_[of].expiry_at; });
  }
  journaling_->key_numbers[at] = key.number;
  journaling_->last_key = std::max(journaling_->last_key, key.number);
  return success();
}

Result<void> MemoryQueue::restore(const JournalOptions& options) try {
  auto journaling = std::make_unique<Journaling>();
  GF_TRY(journaling->journal, Journal::open(options));
  auto& journal = *journaling->journal;
  GF_TRY(const auto head, journal.head());
  // Time goes on from where it stood. Where the machine's clock went back, what is delayed would wait for the same
  // moment twice, and histories would run backwards.
  offset_us_ = std::max(offset_us_, head.saved_us - clock_.now_us());
  // Where the journal is not believed, the destructor shall not write it.
  struct Unread {
    std::unique_ptr<Journaling>& of;
    bool read = false;
    ~Unread() {
      if (!read) of.reset();
    }
  } unread{journaling_};
  journaling_ = std::move(journaling);
  std::unique_lock lock(mutex_);
  std::vector<std::uint32_t> active;
  std::vector<std::uint32_t> over;
  std::array<std::uint64_t, state_count> count{};
  GF_TRYV(journal.jobs([&](JournalRow&& row) -> Result<void> {
    GF_TRY(const auto slot, restore_job(row));
    (is_over(row.job.state) ? over : active).push_back(slot);
    ++count[static_cast<std::size_t>(row.job.state)];
    return success();
  }));
  GF_TRYV(journal.keys([&](JournalKey&& key) { return restore_key(key); }));
  totals_ = head.totals;
  const auto of = [&](JobState state) { return count[static_cast<std::size_t>(state)]; };
  const auto known = of(JobState::delayed) + of(JobState::waiting) + of(JobState::running) + of(JobState::dead) +
                     totals_.done + totals_.cancelled + totals_.expired + totals_.removed;
  if (totals_.accepted != known) {
    return Error{Status::corrupt_file,
                 fmt::format("the journal {} is damaged: {} jobs were accepted, and {} are known", journal.path(),
                             totals_.accepted, known),
                 {}};
  }
  last_event_ = head.last_event;
  oldest_event_ = last_event_ + 1;
  const auto now = now_us();
  lanes_.set_rules(options_.lanes, now);
  std::ranges::sort(active, {}, [this](std::uint32_t slot) { return nodes_[slot].sequence; });
  std::ranges::sort(over, {}, [this](std::uint32_t slot) { return journaling_->places[slot].end_order; });
  for (const auto slot : over) {
    if (nodes_[slot].state == JobState::dead) {
      link(slot, first_dead_, last_dead_);
      ++dead_;
      dead_bytes_ += nodes_[slot].payload_bytes;
    } else {
      link(slot, first_finished_, last_finished_);
      ++finished_;
    }
  }
  for (const auto slot : active) {
    switch (nodes_[slot].state) {
      case JobState::waiting:
        enter_lane(slot);
        arm_deadline(slot);
        break;
      case JobState::delayed:
        enter_delay(slot);
        arm_deadline(slot);
        break;
      default:
        // Whoever ran it was of the process that is gone: nobody else can have held the journal.
        note_attempt(slot, AttemptEnd::crashed, Status::lease_lost, "the process ended while the job ran", now);
        ++totals_.recovered;
        emit(EventType::recovered, nodes_[slot], Status::lease_lost, now);
        count_crash(slot, 0, now);
        break;
    }
  }
  while (first_finished_ != none && (finished_ > options_.kept_finished || options_.kept_finished_us == 0)) {
    trim(now);
  }
  GF_TRYV(journal.accept());
  GF_TRYV(write_now(lock));
  unread.read = true;
  return success();
} catch (const std::bad_alloc&) {
  return out_of_memory();
}

}  // namespace gf::queue
