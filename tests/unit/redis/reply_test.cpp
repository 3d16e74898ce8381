#include "redis/reply.hpp"

#include <doctest/doctest.h>

#include <string_view>
#include <utility>
#include <vector>

using gf::Status;
using gf::redis::classify;
using gf::redis::Reply;
using gf::redis::ReplyError;
using gf::redis::to_error;

TEST_CASE("golden: thirty replies of real servers, and what they mean") {
  // From Redis 6.2 and 7.0, plain and as scripts pass them on.
  const std::vector<std::pair<std::string_view, ReplyError>> rows = {
      {"MOVED 3999 127.0.0.1:6381", ReplyError::moved},
      {"ASK 3999 127.0.0.1:6381", ReplyError::ask},
      {"NOSCRIPT No matching script. Please use EVAL.", ReplyError::no_script},
      {"READONLY You can't write against a read only replica.", ReplyError::read_only},
      {"ERR Error running script (call to f_6b1b): @user_script:1: @user_script: 1: -READONLY You can't write against "
       "a "
       "read only replica.",
       ReplyError::read_only},
      {"READONLY You can't write against a read only replica. script: 0123abcd, on @user_script:1.",
       ReplyError::read_only},
      {"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
       ReplyError::read_only},
      {"LOADING Redis is loading the dataset in memory", ReplyError::loading},
      {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", ReplyError::master_down},
      {"CLUSTERDOWN The cluster is down", ReplyError::cluster_down},
      {"CLUSTERDOWN Hash slot not served", ReplyError::cluster_down},
      {"ERR Error running script (call to f_1): @user_script:1: -CLUSTERDOWN The cluster is down",
       ReplyError::cluster_down},
      {"TRYAGAIN Multiple keys request during rehashing of slot", ReplyError::try_again},
      {"OOM command not allowed when used memory > 'maxmemory'.", ReplyError::out_of_memory},
      {"ERR Error running script (call to f_2): @user_script:1: -OOM command not allowed when used memory > "
       "'maxmemory'.",
       ReplyError::out_of_memory},
      {"OOM command not allowed when used memory > 'maxmemory'. script: ab12, on @user_script:9.",
       ReplyError::out_of_memory},
      {"NOAUTH Authentication required.", ReplyError::no_auth},
      {"WRONGPASS invalid username-password pair or user is disabled.", ReplyError::no_auth},
      {"NOPERM this user has no permissions to run the 'evalsha' command", ReplyError::no_auth},
      {"ERR AUTH <password> called without any password configured for the default user. Are you sure your "
       "configuration is correct?",
       ReplyError::no_auth},
      {"ERR invalid password", ReplyError::no_auth},
      {"CROSSSLOT Keys in request don't hash to the same slot", ReplyError::cross_slot},
      {"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", ReplyError::busy},
      {"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
       ReplyError::misconfigured},
      {"NOREPLICAS Not enough good replicas to write.", ReplyError::too_few_replicas},
      {"WRONGTYPE Operation against a key holding the wrong kind of value", ReplyError::other},
      {"ERR unknown command 'WAITAOF', with args beginning with: ", ReplyError::other},
      {"ERR value is not an integer or out of range", ReplyError::other},
      {"EXECABORT Transaction discarded because of previous errors.", ReplyError::other},
      {"ERR the user asked for a TASK about ROOMS", ReplyError::other},  // Words within words are none.
  };
  CHECK(rows.size() == 30);
  for (const auto& [text, meaning] : rows) {
    CAPTURE(text);
    CHECK(classify(text) == meaning);
  }
}

TEST_CASE("each meaning has its status, and the server's words are kept") {
  CHECK(to_error("OOM command not allowed", "redis://x").status == Status::queue_full);
  CHECK(to_error("NOAUTH Authentication required.", "redis://x").status == Status::unauthorised);
  CHECK(to_error("READONLY You can't write", "redis://x").status == Status::redis_error);
  const auto other = to_error("WRONGTYPE Operation", "redis://x:1");
  CHECK(other.status == Status::redis_error);
  CHECK(other.message.find("WRONGTYPE") != std::string::npos);
  CHECK(other.message.starts_with("redis://x:1"));
}

TEST_CASE("a number is an integer or a text that spells one") {
  Reply reply;
  CHECK(reply.number(7) == 7);
  reply.kind = Reply::Kind::integer;
  reply.integer = -3;
  CHECK(reply.number() == -3);
  reply.kind = Reply::Kind::text;
  reply.text = "12";
  CHECK(reply.number() == 12);
  reply.text = "12x";
  CHECK(reply.number(1) == 1);
}
