#include "cache/ledger.hpp"

#include "base/platform_wait.hpp"
#include "cache/memory_scope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace gf::cache {
namespace {

/// Without any limit an account still ends where its sums would.
constexpr std::uint64_t largest_total = no_limit / 2;

/// Takes away at most what is there: what a caller gives back twice must not make the account wrap round to 16
/// exabytes. Answers how much it was.
std::uint64_t subtract(std::atomic<std::uint64_t>& from, std::uint64_t bytes) noexcept {
  auto held = from.load();
  std::uint64_t taken = 0;
  do {
    taken = std::min(held, bytes);
  } while (!from.compare_exchange_weak(held, held - taken));
  return taken;
}

template <class Number>
void raise_to(std::atomic<Number>& peak, Number value) noexcept {
  auto seen = peak.load();
  while (seen < value && !peak.compare_exchange_weak(seen, value)) {
  }
}

std::size_t index_of(MemoryKind kind) noexcept { return static_cast<std::size_t>(kind); }

bool is_known(std::uint32_t device, MemoryKind kind) noexcept {
  return device < Ledger::max_devices && index_of(kind) < memory_kinds;
}

}  // namespace

std::string_view name_of(MemoryKind kind) {
  constexpr std::array<std::string_view, memory_kinds> names = {"weights", "activations", "staging"};
  return index_of(kind) < names.size() ? names[index_of(kind)] : "unknown";
}

std::string_view name_of(MemoryStage stage) {
  constexpr std::array<std::string_view, memory_stages> names = {"none", "loading", "encoding", "sampling", "decoding"};
  const auto index = static_cast<std::size_t>(stage);
  return index < names.size() ? names[index] : "unknown";
}

class Ledger::Owner {
 public:
  explicit Owner(std::string_view owner_name) : name(owner_name) {}

  const std::string name;
  std::array<std::atomic<std::int64_t>, memory_kinds> bytes{};
  std::atomic<std::int64_t> total{0};
  std::atomic<std::int64_t> peak{0};
  std::array<std::atomic<std::int64_t>, memory_stages> by_stage{};
  std::array<std::atomic<std::int64_t>, memory_stages> stage_peak{};
  Owner* next = nullptr;  // Written before it is in the list, and never again.
};

Ledger::~Ledger() {
  for (auto& account : accounts_) {
    for (auto* owner = account.owners.load(); owner != nullptr;) delete std::exchange(owner, owner->next);
  }
}

std::uint64_t Ledger::limit_of(const Account& account) noexcept {
  auto least = std::min({account.budget.load(), account.configured.load(), account.outside.load(), largest_total});
  for (auto active = account.active.load(); active != 0; active &= active - 1) {
    least = std::min(least, account.watches[static_cast<std::size_t>(__builtin_ctz(active))].limit.load());
  }
  return least;
}

void WorkingJobs::begun() noexcept {
  const std::lock_guard lock(mutex_);
  ++begun_;
}

void WorkingJobs::ended() noexcept {
  const std::lock_guard lock(mutex_);
  --begun_;
}

bool WorkingJobs::wait_for(const std::function<bool()>& fits, const std::function<bool()>& given_up,
                           std::int64_t timeout_us) {
  constexpr std::chrono::milliseconds nap(2);
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(timeout_us);
  struct Waiting {
    WorkingJobs& jobs;
    explicit Waiting(WorkingJobs& given) : jobs(given) {
      const std::lock_guard lock(jobs.mutex_);
      ++jobs.waiting_;
    }
    ~Waiting() {
      const std::lock_guard lock(jobs.mutex_);
      if (!left) --jobs.waiting_;
    }
    /// Leaves where everybody waits; who is left waits for what this job's end gives back.
    bool left_as_last() {
      const std::lock_guard lock(jobs.mutex_);
      if (jobs.waiting_ < jobs.begun_) return false;
      --jobs.waiting_;
      left = true;
      return true;
    }
    bool left = false;
  } waiting(*this);
  while (true) {
    if (fits()) return true;
    if (given_up() || std::chrono::steady_clock::now() >= until) return false;
    if (waiting.left_as_last()) return fits();  // What the last one to end gave back may have come in between.
    std::this_thread::sleep_for(nap);
  }
}

void Ledger::tell_if_over(const Account& account) noexcept {
  if (account.total.load() > limit_of(account)) ring();
}

void Ledger::ring() noexcept {
  news_.fetch_add(1);
  if (waiting_.load() != 0) wake_all(news_);
}

void Ledger::wait_for_news(std::uint32_t seen, std::int64_t timeout_us) const noexcept {
  waiting_.fetch_add(1);
  if (news_.load() == seen) wait_on(news_, seen, timeout_us);
  waiting_.fetch_sub(1);
}

void Ledger::set_budget(std::uint32_t device, std::uint64_t bytes) noexcept {
  if (device >= max_devices) return;
  accounts_[device].budget = bytes == 0 ? no_limit : bytes;
  tell_if_over(accounts_[device]);
}

void Ledger::set_configured(std::uint32_t device, std::uint64_t bytes) noexcept {
  if (device >= max_devices) return;
  accounts_[device].configured = bytes;
  tell_if_over(accounts_[device]);
}

void Ledger::set_outside(std::uint32_t device, std::uint64_t bytes) noexcept {
  if (device >= max_devices) return;
  accounts_[device].outside = bytes;
  tell_if_over(accounts_[device]);
}

std::uint64_t Ledger::limit(std::uint32_t device) const noexcept {
  return device < max_devices ? limit_of(accounts_[device]) : 0;
}

void Ledger::rose(Account& account, std::uint64_t total) noexcept {
  raise_to(account.peak, total);
  for (auto active = account.active.load(); active != 0; active &= active - 1) {
    raise_to(account.watches[static_cast<std::size_t>(__builtin_ctz(active))].peak, total);
  }
}

void Ledger::attribute(std::uint32_t device, MemoryKind kind, std::int64_t bytes) noexcept {
  const auto& thread = MemoryTag::thread();
  for (auto* scope = thread.scope; scope != nullptr; scope = scope->outer_) {
    if (&scope->ledger_ == this && scope->device_ == device) scope->count(kind, bytes);
  }
  const auto* tag = thread.tag;
  if (tag == nullptr || &tag->ledger_ != this || tag->device_ != device || tag->owner_ == nullptr) return;
  auto& owner = *tag->owner_;
  owner.bytes[index_of(kind)] += bytes;
  raise_to(owner.peak, owner.total += bytes);
  const auto stage = static_cast<std::size_t>(tag->stage_);
  raise_to(owner.stage_peak[stage], owner.by_stage[stage] += bytes);
}

void Ledger::attribute_promise(std::uint32_t device, MemoryKind kind, std::int64_t bytes) noexcept {
  for (auto* scope = MemoryTag::thread().scope; scope != nullptr; scope = scope->outer_) {
    if (&scope->ledger_ == this && scope->device_ == device) scope->promise(kind, bytes);
  }
}

Result<void> Ledger::reserve(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) {
  if (!is_known(device, kind)) {
    return Error{Status::invalid_argument,
                 fmt::format("device {} and memory kind {} are not below {} and {}", device, index_of(kind),
                             max_devices, memory_kinds),
                 {}};
  }
  auto& account = accounts_[device];
  for (auto* scope = MemoryTag::thread().scope; scope != nullptr; scope = scope->outer_) {
    if (&scope->ledger_ != this || scope->device_ != device) continue;
    if (auto refused = scope->refuse(bytes)) {
      account.refusals += 1;
      MemoryTag::thread().refused = bytes;
      return std::move(*refused);
    }
  }
  auto total = account.total.load();
  do {
    const auto limit = limit_of(account);
    if (total > limit || bytes > limit - total) {
      account.refusals += 1;
      MemoryTag::thread().refused = bytes;
      return Error{
          Status::over_budget,
          fmt::format("{} bytes were asked of device {}, which holds {} of at most {}", bytes, device, total, limit),
          {}}
          .with("device", fmt::to_string(device))
          .with("needed_bytes", fmt::to_string(bytes))
          .with("held_bytes", fmt::to_string(total))
          .with("limit_bytes", fmt::to_string(limit));
    }
  } while (!account.total.compare_exchange_weak(total, total + bytes));
  account.reserved[index_of(kind)] += bytes;
  rose(account, total + bytes);
  attribute(device, kind, static_cast<std::int64_t>(bytes));
  attribute_promise(device, kind, static_cast<std::int64_t>(bytes));
  return success();
}

std::uint64_t Ledger::take_refused() noexcept { return std::exchange(MemoryTag::thread().refused, 0); }

void Ledger::commit(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) noexcept {
  if (!is_known(device, kind)) return;
  auto& account = accounts_[device];
  const auto promised = subtract(account.reserved[index_of(kind)], bytes);
  account.committed[index_of(kind)] += bytes;
  attribute_promise(device, kind, -static_cast<std::int64_t>(promised));
  if (promised == bytes) return;
  const auto more = bytes - promised;
  rose(account, account.total.fetch_add(more) + more);
  attribute(device, kind, static_cast<std::int64_t>(more));
  tell_if_over(account);
}

void Ledger::release(std::uint32_t device, MemoryKind kind, std::uint64_t bytes, bool committed) noexcept {
  if (!is_known(device, kind)) return;
  auto& account = accounts_[device];
  const auto given = subtract(committed ? account.committed[index_of(kind)] : account.reserved[index_of(kind)], bytes);
  subtract(account.total, given);
  attribute(device, kind, -static_cast<std::int64_t>(given));
  if (!committed) attribute_promise(device, kind, -static_cast<std::int64_t>(given));
}

LedgerAccount Ledger::account(std::uint32_t device) const noexcept {
  LedgerAccount out;
  if (device >= max_devices) return out;
  const auto& account = accounts_[device];
  for (std::size_t kind = 0; kind < memory_kinds; ++kind) {
    out.committed[kind] = account.committed[kind];
    out.reserved[kind] = account.reserved[kind];
  }
  out.total = account.total;
  out.peak = account.peak;
  out.budget = account.budget;
  out.configured = account.configured;
  out.outside = account.outside;
  const auto limit = limit_of(account);
  out.limit = limit == largest_total ? no_limit : limit;
  out.refusals = account.refusals;
  return out;
}

std::uint64_t Ledger::total(std::uint32_t device) const noexcept {
  return device < max_devices ? accounts_[device].total.load() : 0;
}

std::uint64_t Ledger::excess(std::uint32_t device) const noexcept {
  const auto held = total(device);
  const auto most = limit(device);
  return held > most ? held - most : 0;
}

std::uint64_t Ledger::room(std::uint32_t device) const noexcept {
  const auto most = limit(device);
  return most - std::min(most, total(device));
}

Ledger::Owner* Ledger::owner(std::uint32_t device, std::string_view name) {
  if (device >= max_devices) return nullptr;
  auto& first = accounts_[device].owners;
  auto* head = first.load();
  std::unique_ptr<Owner> made;
  const Owner* searched_to = nullptr;  // What lies behind was looked at in the round before.
  for (;;) {
    for (auto* at = head; at != searched_to; at = at->next) {
      if (at->name == name) return at;
    }
    searched_to = head;
    if (!made) made = std::make_unique<Owner>(name);
    made->next = head;
    if (first.compare_exchange_strong(head, made.get())) return made.release();
  }
}

OwnerAccount Ledger::account(const Owner& owner) {
  // A moment's difference between two threads may show as a sum below 0.
  const auto shown = [](std::int64_t bytes) { return static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0)); };
  OwnerAccount out;
  out.name = owner.name;
  for (std::size_t kind = 0; kind < memory_kinds; ++kind) out.bytes[kind] = shown(owner.bytes[kind]);
  out.total = shown(owner.total);
  out.peak = shown(owner.peak);
  for (std::size_t stage = 0; stage < memory_stages; ++stage) {
    out.by_stage[stage] = owner.by_stage[stage];
    out.stage_peak[stage] = owner.stage_peak[stage];
  }
  return out;
}

std::vector<OwnerAccount> Ledger::owners(std::uint32_t device) const {
  std::vector<OwnerAccount> out;
  if (device >= max_devices) return out;
  for (const auto* at = accounts_[device].owners.load(); at != nullptr; at = at->next) out.push_back(account(*at));
  return out;
}

std::optional<std::uint32_t> Ledger::begin_watch(std::uint32_t device, std::uint64_t growth_limit) noexcept {
  if (device >= max_devices) return std::nullopt;
  auto& account = accounts_[device];
  auto claimed = account.claimed.load();
  std::uint32_t place = 0;
  do {
    place = 0;
    while (place < max_watches && (claimed >> place & 1) != 0) ++place;
    if (place == max_watches) return std::nullopt;
  } while (!account.claimed.compare_exchange_weak(claimed, claimed | (1u << place)));
  auto& watch = account.watches[place];
  const auto total = account.total.load();
  watch.begun = total;
  watch.peak = total;
  watch.limit = growth_limit >= largest_total - std::min(total, largest_total) ? no_limit : total + growth_limit;
  account.active.fetch_or(1u << place);
  return watch.uses.load() * max_watches + place;
}

std::optional<Ledger::Watched> Ledger::end_watch(std::uint32_t device, std::uint32_t number) noexcept {
  if (device >= max_devices) return std::nullopt;
  auto& account = accounts_[device];
  const auto place = number % max_watches;
  auto& watch = account.watches[place];
  // Whoever raises the count ends it: of two that name the same watch one does.
  auto uses = number / max_watches;
  const bool is_active = (account.active.load() >> place & 1) != 0;
  if (!is_active || !watch.uses.compare_exchange_strong(uses, (uses + 1) % (1u << 28))) return std::nullopt;
  account.active.fetch_and(~(1u << place));
  const Watched out{watch.begun, account.total, watch.peak};
  account.claimed.fetch_and(~(1u << place));
  return out;
}

void Ledger::add_reclaimer(const std::shared_ptr<Reclaimer>& reclaimer) {
  const std::lock_guard lock(reclaimers_mutex_);
  std::erase_if(reclaimers_, [](const auto& known) { return known.expired(); });
  reclaimers_.push_back(reclaimer);
}

std::vector<std::shared_ptr<Reclaimer>> Ledger::reclaimers() {
  std::vector<std::shared_ptr<Reclaimer>> out;
  const std::lock_guard lock(reclaimers_mutex_);
  out.reserve(reclaimers_.size());
  for (const auto& known : reclaimers_) {
    if (auto reclaimer = known.lock()) out.push_back(std::move(reclaimer));
  }
  return out;
}

std::uint64_t Ledger::reclaim(std::uint32_t device, std::uint64_t bytes) {
  std::uint64_t given = 0;
  for (const auto& reclaimer : reclaimers()) {
    if (given >= bytes) break;
    given += reclaimer->reclaim(device, bytes - given);
  }
  return given;
}

std::uint64_t Ledger::reclaimable(std::uint32_t device) {
  std::uint64_t sum = 0;
  for (const auto& reclaimer : reclaimers()) sum += reclaimer->reclaimable(device);
  return sum;
}

MemoryTag::Thread& MemoryTag::thread() noexcept {
  static thread_local Thread of_this_thread;
  return of_this_thread;
}

MemoryTag::MemoryTag(Ledger& ledger, std::uint32_t device, Ledger::Owner* owner, MemoryStage stage,
                     std::string_view label) noexcept
    : ledger_(ledger),
      device_(device),
      owner_(owner),
      stage_(stage),
      label_(label),
      outer_(std::exchange(thread().tag, this)) {}

MemoryTag::~MemoryTag() { thread().tag = outer_; }

std::shared_ptr<Ledger> process_ledger() {
  // Never destroyed: threads of an engine that was not waited for may outlive static destruction.
  static auto* const ledger = new std::shared_ptr<Ledger>(std::make_shared<Ledger>());
  return *ledger;
}

}  // namespace gf::cache
