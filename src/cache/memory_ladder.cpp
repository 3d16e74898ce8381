#include "cache/memory_ladder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <utility>

namespace gf::cache {
namespace {

std::uint64_t field(const Error& error, std::string_view key, std::uint64_t otherwise) {
  for (const auto& one : error.context) {
    if (one.key != key) continue;
    std::uint64_t value = 0;
    const auto [end, problem] = std::from_chars(one.value.data(), one.value.data() + one.value.size(), value);
    return problem == std::errc{} ? value : otherwise;
  }
  return otherwise;
}

class EvictIdle final : public LadderRung {
 public:
  explicit EvictIdle(std::shared_ptr<Ledger> ledger) : ledger_(std::move(ledger)) {}
  std::string_view name() const override { return rung_evict_idle; }
  bool repeats() const override { return true; }
  bool climb(const LadderRequest& request, const Shortage& shortage, void*) override {
    // Where nobody told how much is missing, the smallest entry may do.
    return ledger_->reclaim(request.device, std::max<std::uint64_t>(shortage.missing, 1)) > 0;
  }

 private:
  const std::shared_ptr<Ledger> ledger_;
};

class WaitForOthers final : public LadderRung {
 public:
  WaitForOthers(std::shared_ptr<Ledger> ledger, std::int64_t patience_us)
      : ledger_(std::move(ledger)), patience_us_(patience_us) {}
  std::string_view name() const override { return rung_wait_for_others; }
  bool repeats() const override { return true; }
  bool mends() const override { return false; }
  bool climb(const LadderRequest& request, const Shortage& shortage, void*) override {
    const auto fits = [&] {
      const auto free = ledger_->room(request.device);
      if (shortage.needed <= free) return true;
      return ledger_->reclaim(request.device, shortage.needed - free) > 0;
    };
    if (shortage.needed > ledger_->limit(request.device)) return false;
    const auto given_up = [&] { return request.cancelled && request.cancelled(); };
    return ledger_->jobs().wait_for(fits, given_up, patience_us_);
  }

 private:
  const std::shared_ptr<Ledger> ledger_;
  const std::int64_t patience_us_;
};

class Flush final : public LadderRung {
 public:
  explicit Flush(std::function<std::uint64_t()> flush) : flush_(std::move(flush)) {}
  std::string_view name() const override { return rung_flush_allocator; }
  bool climb(const LadderRequest&, const Shortage&, void*) override { return flush_() > 0; }

 private:
  const std::function<std::uint64_t()> flush_;
};

}  // namespace

std::vector<std::string> default_rung_order() {
  std::vector<std::string> out;
  for (const auto name :
       {rung_flush_allocator, rung_evict_idle, rung_offload_parts, rung_slice_attention, rung_tile_vae,
        rung_stream_weights, rung_halve_batch, rung_stage_on_cpu, rung_wait_for_others}) {
    out.emplace_back(name);
  }
  return out;
}

std::unique_ptr<LadderRung> make_evict_idle_rung(std::shared_ptr<Ledger> ledger) {
  return std::make_unique<EvictIdle>(std::move(ledger));
}

std::unique_ptr<LadderRung> make_wait_rung(std::shared_ptr<Ledger> ledger, std::int64_t patience_us) {
  return std::make_unique<WaitForOthers>(std::move(ledger), patience_us);
}

std::unique_ptr<LadderRung> make_flush_rung(std::function<std::uint64_t()> flush) {
  return std::make_unique<Flush>(std::move(flush));
}

bool is_shortage(Status status) {
  return status == Status::over_budget || status == Status::out_of_device_memory ||
         status == Status::out_of_host_memory;
}

MemoryLadder::MemoryLadder(std::shared_ptr<Ledger> ledger, std::vector<std::unique_ptr<LadderRung>> rungs)
    : ledger_(std::move(ledger)), rungs_(std::move(rungs)) {}

Result<std::shared_ptr<MemoryLadder>> MemoryLadder::create(std::shared_ptr<Ledger> ledger,
                                                           std::vector<std::unique_ptr<LadderRung>> rungs) {
  for (std::size_t at = 0; at < rungs.size(); ++at) {
    if (!rungs[at] || rungs[at]->name().empty()) {
      return Error{Status::invalid_argument, fmt::format("rung {} has no name", at), {}};
    }
    for (std::size_t before = 0; before < at; ++before) {
      if (rungs[before]->name() != rungs[at]->name()) continue;
      return Error{Status::invalid_argument, fmt::format("there are two rungs {}", rungs[at]->name()), {}};
    }
  }
  std::shared_ptr<MemoryLadder> ladder(new MemoryLadder(std::move(ledger), std::move(rungs)));
  for (const auto& rung : ladder->rungs_) ladder->statistics_.rungs[std::string(rung->name())] = {};
  return ladder;
}

Result<void> MemoryLadder::join(error::ErrorHandler& handler) {
  error::RecoveryStrategy strategy;
  strategy.name = strategy_name;
  strategy.recover = [this](const Error& error, const error::Failure&) { return recover(error); };
  return handler.add(std::move(strategy));
}

error::RecoveryStep MemoryLadder::recover(const Error& error) {
  using Do = error::RecoveryStep::Do;
  if (!is_shortage(error.status)) return {};
  Climb* climb = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = climbs_.find(std::this_thread::get_id());
    if (found != climbs_.end()) climb = found->second;
  }
  // Its thread is this one, so that it stays.
  if (climb == nullptr) return {};
  const auto* const helped = climb->next(error);
  if (helped == nullptr) return {Do::abort};
  return {Do::retry, 0, !helped->mends(), false};
}

LadderRung* MemoryLadder::find(std::string_view name) const {
  for (const auto& rung : rungs_) {
    if (rung->name() == name) return rung.get();
  }
  return nullptr;
}

MemoryLadder::Likeness MemoryLadder::likeness_of(const LadderRequest& request, const LadderOptions& options) const {
  const auto limit = static_cast<double>(std::max<std::uint64_t>(ledger_->limit(request.device), 1));
  return {request.model, std::uint64_t{request.width_px} * request.height_px, request.images,
          static_cast<std::int32_t>(std::floor(4 * std::log2(limit))), options.allow_pixel_changes};
}

LadderStatistics MemoryLadder::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void MemoryLadder::forget() {
  const std::lock_guard lock(mutex_);
  remembered_.clear();
}

MemoryLadder::Climb::Climb(MemoryLadder& ladder, LadderRequest request, LadderOptions options, void* plan)
    : ladder_(ladder), request_(std::move(request)), options_(std::move(options)), plan_(plan) {
  ladder_.ledger_->jobs().begun();
  std::vector<std::string> begins_with;
  {
    const std::lock_guard lock(ladder_.mutex_);
    const auto found = ladder_.remembered_.find(ladder_.likeness_of(request_, options_));
    if (found != ladder_.remembered_.end()) begins_with = found->second;
    outer_ = std::exchange(ladder_.climbs_[std::this_thread::get_id()], this);
    if (!begins_with.empty()) ++ladder_.statistics_.begun_with_plan;
  }
  try {
    for (const auto& name : begins_with) {
      auto* rung = ladder_.find(name);
      if (rung != nullptr) (void)try_rung(*rung, {});
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): without memory for the names; it begins with what was climbed.
  }
}

MemoryLadder::Climb::~Climb() {
  ladder_.ledger_->jobs().ended();
  const std::lock_guard lock(ladder_.mutex_);
  if (outer_ == nullptr) {
    ladder_.climbs_.erase(std::this_thread::get_id());
  } else {
    ladder_.climbs_[std::this_thread::get_id()] = outer_;
  }
  if (ran_out_ && !ended_well_) ++ladder_.statistics_.exhausted;
}

Shortage MemoryLadder::Climb::shortage_of(const Error& error) const {
  Shortage out;
  out.stage = stage_;
  out.held = field(error, "held_bytes", ladder_.ledger_->total(request_.device));
  out.limit = field(error, "limit_bytes", ladder_.ledger_->limit(request_.device));
  out.needed = field(error, "needed_bytes", refused_);
  const auto free = out.limit - std::min(out.limit, out.held);
  if (out.needed > free) out.missing = out.needed - free;
  return out;
}

bool MemoryLadder::Climb::try_rung(LadderRung& rung, const Shortage& shortage) {
  bool helped = false;
  try {
    helped = rung.climb(request_, shortage, plan_);
  } catch (...) {  // Without memory for its work it is of no help.
  }
  {
    const std::lock_guard lock(ladder_.mutex_);
    auto& numbers = ladder_.statistics_.rungs.find(rung.name())->second;
    ++numbers.tried;
    if (helped) ++numbers.helped;
  }
  if (!helped) return false;
  climbed_.emplace_back(rung.name());
  if (rung.changes_plan()) plan_rungs_.emplace_back(rung.name());
  changed_pixels_ = changed_pixels_ || rung.changes_pixels();
  return true;
}

void MemoryLadder::Climb::at(MemoryStage stage) {
  stage_ = stage;
  (void)Ledger::take_refused();  // What another stage was refused is not this one's need.
  refused_ = 0;
}

const LadderRung* MemoryLadder::Climb::next(const Error& error) {
  if (const auto refused = Ledger::take_refused(); refused > 0) refused_ = refused;
  if (!std::exchange(ran_out_, true)) {
    const std::lock_guard lock(ladder_.mutex_);
    ++ladder_.statistics_.climbs;
  }
  const auto shortage = shortage_of(error);
  while (at_ < options_.order.size()) {
    const auto& name = options_.order[at_];
    auto* rung = ladder_.find(name);
    const bool is_forbidden =
        std::find(options_.forbidden.begin(), options_.forbidden.end(), name) != options_.forbidden.end();
    const bool was_begun_with =
        rung != nullptr && !rung->repeats() && std::find(climbed_.begin(), climbed_.end(), name) != climbed_.end();
    if (rung == nullptr || is_forbidden || was_begun_with ||
        (rung->changes_pixels() && !options_.allow_pixel_changes)) {
      ++at_;
      continue;
    }
    const bool helped = try_rung(*rung, shortage);
    if (!helped || !rung->repeats()) ++at_;
    if (helped) return rung;
  }
  return nullptr;
}

void MemoryLadder::Climb::succeeded() {
  if (std::exchange(ended_well_, true)) return;
  const std::lock_guard lock(ladder_.mutex_);
  if (!ran_out_) return;
  ++ladder_.statistics_.rescued;
  if (!climbed_.empty()) ++ladder_.statistics_.rungs.find(climbed_.back())->second.rescued;
  if (plan_rungs_.empty()) return;
  if (ladder_.remembered_.size() >= most_remembered) ladder_.remembered_.clear();
  ladder_.remembered_[ladder_.likeness_of(request_, options_)] = plan_rungs_;
}

Error MemoryLadder::Climb::explained(Error error) {
  if (!is_shortage(error.status)) return error;
  if (const auto refused = Ledger::take_refused(); refused > 0) refused_ = refused;
  const auto shortage = shortage_of(error);
  std::string tried;
  for (const auto& name : climbed_) tried += (tried.empty() ? "" : ", ") + name;
  std::string off;
  for (const auto& name : options_.order) {
    const auto* rung = ladder_.find(name);
    if (rung == nullptr) continue;
    const bool is_forbidden =
        std::find(options_.forbidden.begin(), options_.forbidden.end(), name) != options_.forbidden.end();
    if (is_forbidden || (rung->changes_pixels() && !options_.allow_pixel_changes))
      off += (off.empty() ? "" : ", ") + name;
  }
  const auto would_fit = shortage.held + shortage.needed;
  // What was refused before it began stays that; in the middle of the work it is the ladder's end.
  const auto status = stage_ == MemoryStage::none || stage_ == MemoryStage::loading ? error.status
                      : error.status == Status::over_budget                         ? Status::out_of_device_memory
                                                                                    : error.status;
  // Where nobody told how much was needed and nothing was tried, there is nothing to add.
  if (shortage.needed == 0 && tried.empty()) {
    error.status = status;
    return error;
  }
  auto message = fmt::format("{}; {} at {} x {}, {}", error.message, request_.model, request_.width_px,
                             request_.height_px, name_of(stage_));
  if (shortage.needed > 0) {
    message +=
        fmt::format(", needs {} bytes where {} of at most {} are held", shortage.needed, shortage.held, shortage.limit);
  }
  if (!tried.empty()) message += fmt::format("; tried: {}", tried);
  if (!off.empty()) message += fmt::format("; not allowed: {}", off);
  if (shortage.needed > 0) message += fmt::format("; a budget of {} bytes would fit", would_fit);
  auto out = std::move(error);
  out.status = status;
  out.message = std::move(message);
  // The numbers of the plan, for those who do not read text; what the error had already is kept.
  const auto add = [&](std::string key, std::string value) {
    for (const auto& one : out.context) {
      if (one.key == key) return;
    }
    out.context.push_back({std::move(key), std::move(value)});
  };
  add("needed_bytes", fmt::to_string(shortage.needed));
  add("held_bytes", fmt::to_string(shortage.held));
  add("limit_bytes", fmt::to_string(shortage.limit));
  add("would_fit_bytes", fmt::to_string(would_fit));
  add("tried", tried);
  add("not_allowed", off);
  return out;
}

}  // namespace gf::cache
