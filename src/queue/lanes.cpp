#include "queue/lanes.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace gf::queue {

void Lanes::set_rules(const LaneRules& rules, std::int64_t now_us) {
  rules_ = rules;
  rate_.reset();
  if (rules.user_start_rate) {
    if (auto rate = TokenRate::create(*rules.user_start_rate)) rate_ = rate.value();
  }
  credits_ = {};
  last_was_aged_ = false;
  // Whoever was parked by the limits of before is judged anew by those of now.
  for (std::uint32_t user = 0; user < users_.size(); ++user) {
    if (users_[user].parked && !over_running_limit(users_[user])) unpark(user);
  }
  unpark_due(now_us);
}

void Lanes::reserve(std::uint32_t count) { places_.reserve(count); }

void Lanes::reserve_users(std::uint32_t count) {
  for (auto& ring : rings_) {
    ring.ages.reserve(count);
    ring.parked.reserve(count);
  }
  parked_until_.reserve(count);
  users_.reserve(count);
}

std::uint32_t Lanes::head_of(const UserLane& lane) const {
  if (lane.returned.empty()) return lane.first;
  const auto& returned = lane.returned.top();
  return lane.first != none && places_[lane.first].sequence < returned.key ? lane.first : returned.slot;
}

void Lanes::push(std::uint32_t slot, Priority priority, std::uint32_t user, std::uint64_t sequence,
                 std::int64_t since_us) {
  const auto lane = static_cast<std::size_t>(priority);
  auto& place = places_[slot];
  auto& of_user = users_[user].lanes[lane];
  place = Place{sequence, since_us, none, none, none, user, static_cast<std::uint8_t>(lane)};
  const auto insert_after = [&](std::uint32_t previous) {
    place.previous = previous;
    place.next = previous == none ? of_user.first : places_[previous].next;
    (previous == none ? of_user.first : places_[previous].next) = slot;
    (place.next == none ? of_user.last : places_[place.next].previous) = slot;
  };
  if (of_user.last == none || places_[of_user.last].sequence < sequence) {
    insert_after(of_user.last);
  } else {
    try {
      of_user.returned.push(sequence, slot,
                            [this](std::uint32_t at) -> std::uint32_t& { return places_[at].returned_at; });
    } catch (const std::bad_alloc&) {  // The long way, which needs none.
      auto previous = of_user.last;
      while (previous != none && places_[previous].sequence > sequence) previous = places_[previous].previous;
      insert_after(previous);
    }
  }
  ++of_user.count;
  ++counts_[lane];
  if (of_user.age_at == none) {
    enter(user, lane);
  } else if (head_of(of_user) == slot) {
    age(user, lane);
  }
}

void Lanes::unlink(UserLane& lane, std::uint32_t slot) {
  auto& place = places_[slot];
  if (place.returned_at != none) {
    lane.returned.remove(slot, [this](std::uint32_t at) -> std::uint32_t& { return places_[at].returned_at; });
  } else {
    (place.previous == none ? lane.first : places_[place.previous].next) = place.next;
    (place.next == none ? lane.last : places_[place.next].previous) = place.previous;
  }
  --lane.count;
  --counts_[place.lane];
  place.user = none;
}

void Lanes::remove(std::uint32_t slot) {
  const auto user = places_[slot].user;
  const std::size_t lane = places_[slot].lane;
  auto& of_user = users_[user].lanes[lane];
  const bool was_head = head_of(of_user) == slot;
  unlink(of_user, slot);
  if (of_user.count == 0) {
    leave(user, lane);
  } else if (was_head) {
    age(user, lane);
  }
}

void Lanes::enter(std::uint32_t user, std::size_t lane) {
  auto& of_user = users_[user].lanes[lane];
  if (!users_[user].parked) {
    auto& ring = rings_[lane];
    of_user.ring_previous = ring.last;
    of_user.ring_next = none;
    (ring.last == none ? ring.first : users_[ring.last].lanes[lane].ring_next) = user;
    ring.last = user;
  }
  ages_of(user, lane).push(places_[head_of(of_user)].since_us, user, [this, lane](std::uint32_t at) -> std::uint32_t& {
    return users_[at].lanes[lane].age_at;
  });
}

void Lanes::leave(std::uint32_t user, std::size_t lane) {
  auto& of_user = users_[user].lanes[lane];
  if (!users_[user].parked) {
    auto& ring = rings_[lane];
    const auto previous = of_user.ring_previous;
    const auto next = of_user.ring_next;
    (previous == none ? ring.first : users_[previous].lanes[lane].ring_next) = next;
    (next == none ? ring.last : users_[next].lanes[lane].ring_previous) = previous;
  }
  ages_of(user, lane).remove(user, [this, lane](std::uint32_t at) -> std::uint32_t& {
    return users_[at].lanes[lane].age_at;
  });
}

void Lanes::age(std::uint32_t user, std::size_t lane) {
  ages_of(user, lane)
      .update(places_[head_of(users_[user].lanes[lane])].since_us, user,
              [this, lane](std::uint32_t at) -> std::uint32_t& { return users_[at].lanes[lane].age_at; });
}

void Lanes::set_parked(std::uint32_t user, bool parked) {
  auto& of_user = users_[user];
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    if (of_user.lanes[lane].count != 0) leave(user, lane);
  }
  of_user.parked = parked;
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    if (of_user.lanes[lane].count != 0) enter(user, lane);
  }
}

void Lanes::park(std::uint32_t user) { set_parked(user, true); }

void Lanes::unpark(std::uint32_t user) {
  if (users_[user].parked_at != none) {
    parked_until_.remove(user, [this](std::uint32_t at) -> std::uint32_t& { return users_[at].parked_at; });
  }
  set_parked(user, false);
}

void Lanes::unpark_due(std::int64_t now_us) {
  while (!parked_until_.empty() && parked_until_.top().key <= now_us) unpark(parked_until_.top().slot);
}

std::pair<std::size_t, bool> Lanes::choose(std::int64_t now_us) {
  std::size_t best = lane_count;
  if (rules_.order == LaneOrder::weighted) {
    // Smooth weighted round robin: every lane that waits earns its weight, the richest is served and pays for all.
    // Source: nginx, ngx_http_upstream_round_robin.c (commit 52327e0627f4), there for servers.
    for (std::size_t lane = 0; lane < lane_count; ++lane) {
      if (rings_[lane].first == none) continue;
      if (best == lane_count || credits_[lane] + rules_.weights[lane] > credits_[best] + rules_.weights[best]) {
        best = lane;
      }
    }
    return {best, false};
  }
  for (std::size_t lane = 0; lane < lane_count && best == lane_count; ++lane) {
    if (rings_[lane].first != none) best = lane;
  }
  if (best == lane_count || last_was_aged_) return {best, false};
  auto aged = lane_count;
  auto aged_due_us = now_us;
  const std::array<std::int64_t, lane_count> bounds{0, rules_.normal_max_wait_us, rules_.low_max_wait_us};
  for (auto lane = best + 1; lane < lane_count; ++lane) {
    if (bounds[lane] == 0 || rings_[lane].ages.empty()) continue;
    const auto due_us = rings_[lane].ages.top().key + bounds[lane];
    if (due_us < aged_due_us) {
      aged = lane;
      aged_due_us = due_us;
    }
  }
  return aged == lane_count ? std::pair{best, false} : std::pair{aged, true};
}

bool Lanes::any(std::int64_t now_us) {
  unpark_due(now_us);
  return std::ranges::any_of(rings_, [](const Ring& ring) { return ring.first != none; });
}

std::uint32_t Lanes::take(std::int64_t now_us) {
  unpark_due(now_us);
  for (;;) {  // Ends: each round but the last parks a user.
    const auto [lane, aged] = choose(now_us);
    if (lane == lane_count) return none;
    const auto user = aged ? rings_[lane].ages.top().slot : rings_[lane].first;
    auto& of_user = users_[user];
    if (over_running_limit(of_user)) {
      park(user);
      continue;
    }
    if (rate_) {
      const auto answer = rate_->take(of_user.full_at_us, now_us, 1);
      if (answer && !answer.value().admitted) {
        park(user);
        parked_until_.push(now_us + answer.value().retry_after_us, user,
                           [this](std::uint32_t at) -> std::uint32_t& { return users_[at].parked_at; });
        continue;
      }
    }
    if (rules_.order == LaneOrder::weighted) {
      std::int64_t total = 0;
      for (std::size_t other = 0; other < lane_count; ++other) {
        if (rings_[other].first == none) continue;
        credits_[other] += rules_.weights[other];
        total += rules_.weights[other];
      }
      credits_[lane] -= total;
    } else {
      last_was_aged_ = aged;
    }
    auto& lane_of_user = of_user.lanes[lane];
    const auto slot = head_of(lane_of_user);
    leave(user, lane);
    unlink(lane_of_user, slot);
    if (lane_of_user.count != 0) enter(user, lane);  // Behind the others.
    ++of_user.running;
    if (over_running_limit(of_user)) park(user);
    return slot;
  }
}

void Lanes::ended(std::uint32_t user) {
  auto& of_user = users_[user];
  --of_user.running;
  // Who is parked for time as well stays so.
  if (of_user.parked && of_user.parked_at == none && !over_running_limit(of_user)) unpark(user);
}

std::optional<std::int64_t> Lanes::next_unpark_us() const {
  if (parked_until_.empty()) return std::nullopt;
  return parked_until_.top().key;
}

std::optional<std::int64_t> Lanes::oldest_us(Priority lane) const {
  const auto& ages = rings_[static_cast<std::size_t>(lane)].ages;
  if (ages.empty()) return std::nullopt;
  return ages.top().key;
}

std::uint32_t Lanes::oldest_slot(Priority priority) const {
  const auto lane = static_cast<std::size_t>(priority);
  const auto& ring = rings_[lane];
  const IndexHeap<std::int64_t>* older = &ring.ages;
  if (older->empty() || (!ring.parked.empty() && ring.parked.top().key < older->top().key)) older = &ring.parked;
  return older->empty() ? none : head_of(users_[older->top().slot].lanes[lane]);
}

std::uint64_t Lanes::waiting_of(std::uint32_t user) const {
  std::uint64_t sum = 0;
  for (const auto& lane : users_[user].lanes) sum += lane.count;
  return sum;
}

bool Lanes::is_idle(std::uint32_t user, std::int64_t now_us) const {
  const auto& of_user = users_[user];
  return of_user.running == 0 && of_user.full_at_us <= now_us && waiting_of(user) == 0;
}

void Lanes::forget(std::uint32_t user) {
  if (users_[user].parked) unpark(user);
  users_[user] = User{};
}

}  // namespace gf::queue
