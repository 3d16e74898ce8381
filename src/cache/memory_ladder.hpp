// The recovery ladder: what is done, rung by rung, when memory runs out in the middle of a job, and what to say when
// nothing helps.
#pragma once

#include "base/result.hpp"
#include "cache/ledger.hpp"
#include "error/handler.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gf::cache {

/// What a job was doing, as rungs see it.
struct LadderRequest {
  std::string model;
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  std::uint32_t images = 1;
  std::uint32_t device = 0;
  std::function<bool()> cancelled = {};  ///< Ends a wait. Empty: never.
};

/// What ran out. From the error's fields where it has them, else from the ledger.
struct Shortage {
  MemoryStage stage = MemoryStage::none;
  std::uint64_t needed = 0;  ///< Bytes of the allocation that was refused.
  std::uint64_t held = 0;    ///< Of the device at that moment.
  std::uint64_t limit = no_limit;
  std::uint64_t missing = 0;  ///< At least so many must be given back; 0: not known.
};

/// One thing that can be done about it. Threads: any; several jobs climb at a time.
class LadderRung {
 public:
  virtual ~LadderRung() = default;
  virtual std::string_view name() const = 0;  ///< Static, unique in its ladder.
  /// Whether pictures come out otherwise with it: then it is off unless it is allowed.
  virtual bool changes_pixels() const { return false; }
  /// Whether it changes how the job is done, and not what lies around. Then a job like one that it helped begins with
  /// it.
  virtual bool changes_plan() const { return false; }
  /// Whether it may help once more after it helped.
  virtual bool repeats() const { return false; }
  /// False: it changes nothing itself, so that trying again after it counts among the operation's attempts.
  virtual bool mends() const { return true; }
  /// Does it. False: there is nothing it could do here, and the next one is tried. `plan` is the job's own, as the
  /// climb was given it.
  virtual bool climb(const LadderRequest& request, const Shortage& shortage, void* plan) = 0;
};

/// Names of the rungs in our order. Those that only the pipeline can build are registered by it.
inline constexpr std::string_view rung_flush_allocator = "flush_allocator";
inline constexpr std::string_view rung_evict_idle = "evict_idle";
inline constexpr std::string_view rung_offload_parts = "offload_parts";
inline constexpr std::string_view rung_slice_attention = "slice_attention";
inline constexpr std::string_view rung_tile_vae = "tile_vae";
inline constexpr std::string_view rung_stream_weights = "stream_weights";
inline constexpr std::string_view rung_halve_batch = "halve_batch";
inline constexpr std::string_view rung_stage_on_cpu = "stage_on_cpu";
inline constexpr std::string_view rung_wait_for_others = "wait_for_others";
std::vector<std::string> default_rung_order();

/// Gives up idle entries of the cache, only the bytes that are missing.
std::unique_ptr<LadderRung> make_evict_idle_rung(std::shared_ptr<Ledger> ledger);
/// Waits, at most so long, until what is needed is free or can be given up: as long as another job of the process is at
/// work that does not wait itself. Where it is free by now there is nothing to wait for, and it is tried again.
std::unique_ptr<LadderRung> make_wait_rung(std::shared_ptr<Ledger> ledger, std::int64_t patience_us);
/// Calls what returns the allocator's cache to the device and answers how many bytes it were.
std::unique_ptr<LadderRung> make_flush_rung(std::function<std::uint64_t()> flush);

struct LadderOptions {
  std::vector<std::string> order = default_rung_order();  ///< Names; what is not named is not tried.
  std::vector<std::string> forbidden = {};
  bool allow_pixel_changes = false;
};

struct LadderStatistics {
  struct Rung {
    std::uint64_t tried = 0;
    std::uint64_t helped = 0;   ///< Had something to do.
    std::uint64_t rescued = 0;  ///< Climbs that ended well after it was the last.
  };
  std::uint64_t climbs = 0;  ///< Jobs in which memory ran out.
  std::uint64_t rescued = 0;
  std::uint64_t exhausted = 0;
  std::uint64_t begun_with_plan = 0;  ///< Jobs that began with what had helped one like them.
  std::map<std::string, Rung, std::less<>> rungs;
};

/// Threads: any, for every function. No lock is held while a rung works.
class MemoryLadder {
 public:
  static constexpr std::string_view strategy_name = "memory_ladder";

  /// Errors: invalid_argument where a rung has no name, or two have the same.
  static Result<std::shared_ptr<MemoryLadder>> create(std::shared_ptr<Ledger> ledger,
                                                      std::vector<std::unique_ptr<LadderRung>> rungs);

  /// Makes it a strategy of the handler, outside of every catch block: the handler asks it when an operation has failed
  /// for memory. Errors: already_exists.
  Result<void> join(error::ErrorHandler& handler);

  /// One job's way up. While it lives, failures of operations on its thread are the job's. One a thread at a time, the
  /// newest; on the stack of the thread that runs the operations.
  class Climb {
   public:
    /// `plan` is passed to the rungs, and must outlive the climb. Rungs that helped a job of the same model, size and
    /// budget are climbed at once. options.order names rungs; an unknown name is passed over.
    Climb(MemoryLadder& ladder, LadderRequest request, LadderOptions options, void* plan);
    ~Climb();
    Climb(const Climb&) = delete;
    Climb& operator=(const Climb&) = delete;

    /// The stage that runs, for messages.
    void at(MemoryStage stage);
    /// The job ended well: what helped is remembered.
    void succeeded();
    /// Rungs that were climbed, those of the beginning too, in order.
    const std::vector<std::string>& climbed() const { return climbed_; }
    bool changed_pixels() const { return changed_pixels_; }
    /// The error to end with. One of over_budget in the middle of the work becomes out_of_device_memory, and every
    /// shortage whose bytes are known, or against which something was tried, gets a plan after its own words: what was
    /// needed, what was there, what was tried, and what would fit; as fields too. Others pass as they are.
    Error explained(Error error);

   private:
    friend class MemoryLadder;
    /// The rung that helped, or nothing.
    const LadderRung* next(const Error& error);
    bool try_rung(LadderRung& rung, const Shortage& shortage);
    Shortage shortage_of(const Error& error) const;

    MemoryLadder& ladder_;
    const LadderRequest request_;
    const LadderOptions options_;
    void* const plan_;
    Climb* outer_ = nullptr;
    MemoryStage stage_ = MemoryStage::none;
    std::uint64_t refused_ = 0;  // Of the last failure, where its error did not say.
    std::size_t at_ = 0;         // In options_.order.
    std::vector<std::string> climbed_;
    std::vector<std::string> plan_rungs_;
    bool changed_pixels_ = false;
    bool ran_out_ = false;
    bool ended_well_ = false;
  };

  LadderStatistics statistics() const;
  /// Forgets what helped.
  void forget();

 private:
  /// Jobs that are alike. The limit in quarters of a power of two: about the same is the same.
  struct Likeness {
    std::string model;
    std::uint64_t pixels = 0;
    std::uint32_t images = 1;
    std::int32_t limit = 0;
    bool pixel_changes = false;
    auto operator<=>(const Likeness&) const = default;
  };
  static constexpr std::size_t most_remembered = 1024;

  MemoryLadder(std::shared_ptr<Ledger> ledger, std::vector<std::unique_ptr<LadderRung>> rungs);
  LadderRung* find(std::string_view name) const;
  Likeness likeness_of(const LadderRequest& request, const LadderOptions& options) const;
  error::RecoveryStep recover(const Error& error);

  const std::shared_ptr<Ledger> ledger_;
  const std::vector<std::unique_ptr<LadderRung>> rungs_;
  mutable std::mutex mutex_;
  std::map<std::thread::id, Climb*> climbs_;                 // Guarded by mutex_, as the following.
  std::map<Likeness, std::vector<std::string>> remembered_;  // Plan rungs that helped.
  LadderStatistics statistics_;
};

/// Whether the status is one that the ladder is for.
bool is_shortage(Status status);

}  // namespace gf::cache
