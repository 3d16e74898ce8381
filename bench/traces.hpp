// Traffic for caches of models: what the simulator of bench/compare memory replays, and the unit tests in short.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace gf::bench {

struct TracedModel {
  std::uint64_t bytes = 0;
  double load_s = 0;
};

struct Trace {
  std::string name;
  std::vector<TracedModel> models;
  std::vector<std::size_t> requests;
  std::uint64_t capacity = 0;
};

/// Random numbers that are the same with every library: std's distributions are not.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  double unit() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }
  std::size_t below(std::size_t end) { return static_cast<std::size_t>(unit() * static_cast<double>(end)); }
  double between(double from, double to) { return from + (to - from) * unit(); }
  double normal() { return std::sqrt(-2 * std::log(1 - unit())) * std::cos(6.283185307179586 * unit()); }
  std::vector<std::size_t> shuffled(std::size_t count) {
    std::vector<std::size_t> out(count);
    std::iota(out.begin(), out.end(), std::size_t{0});
    for (std::size_t at = count; at > 1; --at) std::swap(out[at - 1], out[below(at)]);
    return out;
  }

 private:
  std::mt19937_64 random_;
};

/// Sizes about log-normal around 2.5 GB, as checkpoints and their parts have; load times from disks and networks of 0.3
/// to 3 GB/s with a fixed part.
inline std::vector<TracedModel> traced_models(Draw& draw, std::size_t count) {
  constexpr double rates[] = {0.3, 0.6, 1.5, 3.0};
  std::vector<TracedModel> out;
  for (std::size_t at = 0; at < count; ++at) {
    const double gigabytes = std::exp(0.9 + 0.6 * draw.normal());
    out.push_back(
        {static_cast<std::uint64_t>(gigabytes * 1e9), draw.between(0.2, 1.5) + gigabytes / rates[draw.below(4)]});
  }
  return out;
}

inline void append_zipf(Draw& draw, std::size_t models, double exponent, std::size_t count,
                        std::vector<std::size_t>& out) {
  const auto names = draw.shuffled(models);
  std::vector<double> sums;
  double sum = 0;
  for (std::size_t rank = 0; rank < models; ++rank)
    sums.push_back(sum += std::pow(static_cast<double>(rank + 1), -exponent));
  for (std::size_t at = 0; at < count; ++at) {
    const auto rank = std::upper_bound(sums.begin(), sums.end(), draw.unit() * sum) - sums.begin();
    out.push_back(names[std::min(static_cast<std::size_t>(rank), models - 1)]);
  }
}

/// Somebody works with two to five models for 15 to 60 requests; `sets` > 0: and comes back to one of so many sets.
inline std::vector<std::size_t> sessions(Draw& draw, std::size_t models, std::size_t count, std::size_t sets) {
  const auto make = [&] {
    auto set = draw.shuffled(models);
    set.resize(2 + draw.below(4));
    return set;
  };
  std::vector<std::vector<std::size_t>> known;
  for (std::size_t at = 0; at < sets; ++at) known.push_back(make());
  std::vector<std::size_t> favourites;
  if (sets > 0) append_zipf(draw, sets, 1, count, favourites);
  std::vector<std::size_t> out;
  for (std::size_t session = 0; out.size() < count; ++session) {
    const auto set = sets > 0 ? known[favourites[session]] : make();
    for (auto left = 15 + draw.below(46); left > 0; --left) out.push_back(set[draw.below(set.size())]);
  }
  out.resize(count);
  return out;
}

/// The kinds of traffic at two sizes of the cache each.
inline std::vector<Trace> traces(std::uint64_t seed, std::size_t count) {
  Draw draw(seed);
  constexpr std::size_t many = 30;
  constexpr std::size_t few = 12;
  const auto large = traced_models(draw, many);
  const auto small = traced_models(draw, few);
  std::vector<Trace> out;
  const auto add = [&](const std::string& name, const std::vector<TracedModel>& models,
                       const std::vector<std::size_t>& requests, double share) {
    std::uint64_t all = 0;
    std::uint64_t largest = 0;
    for (const auto& model : models) {
      all += model.bytes;
      largest = std::max(largest, model.bytes);
    }
    const auto capacity = static_cast<std::uint64_t>(static_cast<double>(all) * share);
    out.push_back({name + ", " + std::to_string(static_cast<int>(share * 100)) + " % fit", models, requests,
                   std::max(capacity, largest + largest / 100)});
  };
  const auto both = [&](const std::string& name, const std::vector<std::size_t>& requests) {
    add(name, large, requests, 0.2);
    add(name, large, requests, 0.4);
  };
  for (const double exponent : {0.8, 1.2}) {
    std::vector<std::size_t> requests;
    append_zipf(draw, many, exponent, count, requests);
    both(exponent < 1 ? "Zipf 0.8" : "Zipf 1.2", requests);
  }
  both("sessions, new each time", sessions(draw, many, count, 0));
  both("sessions, eight that return", sessions(draw, many, count, 8));
  for (const std::size_t period : {std::size_t{400}, std::size_t{100}}) {
    std::vector<std::size_t> requests;
    while (requests.size() < count) append_zipf(draw, many, period == 400 ? 1.0 : 1.2, period, requests);
    both("shifting every " + std::to_string(period), requests);
  }
  {
    std::vector<std::size_t> requests;
    for (std::size_t next = 0; requests.size() < count;)
      requests.push_back(draw.unit() < 0.15 ? draw.below(many) : next++ % many);
    both("loop with strays", requests);
  }
  {
    std::vector<std::size_t> requests;
    for (std::size_t at = 0; at < count; ++at) requests.push_back(at % few);
    add("loop", small, requests, 0.5);
    add("loop", small, requests, 0.8);
  }
  return out;
}

struct Replayed {
  double loaded_s = 0;
  std::uint64_t most_bytes = 0;  ///< Held at any time.
};

/// What a trace costs under a policy of the kind of cache::EvictionPolicy, as the cache asks it.
template <class Policy>
Replayed replay_policy(const Trace& trace, Policy policy) {
  std::set<typename Policy::Number> there;
  std::uint64_t bytes = 0;
  Replayed out;
  for (const auto model : trace.requests) {
    const auto& is = trace.models[model];
    if (!there.contains(model)) {
      out.loaded_s += is.load_s;
      if (bytes + is.bytes > trace.capacity) {
        for (const auto gone : policy.victims({there.begin(), there.end()}, bytes + is.bytes - trace.capacity)) {
          there.erase(gone);
          bytes -= trace.models[gone].bytes;
        }
      }
      there.insert(model);
      bytes += is.bytes;
      out.most_bytes = std::max(out.most_bytes, bytes);
    }
    policy.used(model, is.bytes, is.load_s * 1e6, trace.capacity);
  }
  return out;
}

}  // namespace gf::bench
