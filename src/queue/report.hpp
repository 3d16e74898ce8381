// Jobs and figures of a queue as JSON, for people, for hosts and for the C ABI.
#pragma once

#include "queue/job.hpp"
#include "queue/queue.hpp"

#include <string>

namespace gf::queue {

/// One object with all that a record has, but payload and result bytes, of which only the number is told. Times are
/// microseconds since the Unix epoch; null where there is none. Throws bad_alloc.
std::string job_json(const JobRecord& job);

/// One object: depth by lane and state, totals, and the quantiles of both histograms with their buckets as
/// [upper bound in microseconds, count]. Throws bad_alloc.
std::string statistics_json(const Statistics& statistics);

std::string_view name_of(AttemptEnd end);
std::string_view name_of(EventType type);

}  // namespace gf::queue
