// What every journal promises. A test file defines JOURNAL_HOST, the type that brings one up, and JOURNAL_FOLDER, the
// folder of tests it lies in, and includes this.
//
// A host has: `aura::sim::Runtime world`, `auto& journal()`, and `static constexpr bool cancels_waiting`, which says
// whether an operation can still be cancelled after its initiation.
#pragma once

#include "support/catch.hpp"
#include "support/journal_driver.hpp"
#include "support/journal_model.hpp"
#include "support/seeds.hpp"

#include <aura/core/journal.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <optional>
#include <string>
#include <vector>

namespace {

using namespace aura;  // NOLINT: a test
using namespace aura::test;  // NOLINT

using Driven = JournalDriver<JOURNAL_HOST>;

TEST_CASE("what was committed is read back, byte for byte") {
  Driven log;
  Record odd;
  odd.type = "";
  odd.schema = 65535;
  odd.encoding = std::string("\0x", 2);
  odd.at = WallTime(Duration(-5));
  odd.attempt = 4'294'967'295u;
  odd.trace.trace_id[3] = 7;
  odd.trace.flags = 255;
  odd.payload = std::string("\0\xff\n", 3);
  Record large = record("large", 2);
  large.payload.assign(1 << 20, 'x');
  large.encoding = "json";
  const std::vector<Record> records{odd, large, record("", 3)};
  REQUIRE(ok(log.commit({birth("s", records)})));

  REQUIRE((log.read("s", 0, 10) == records));
  REQUIRE((log.read("s", 1, 1) == std::vector<Record>{large}));
  REQUIRE(log.read("s", 3, 10)->empty());
  REQUIRE(log.read("s", 0, 0)->empty());
  REQUIRE(log.read("s", ~std::uint64_t{0}, 10)->empty());
  REQUIRE(log.read("nobody", 0, 10)->empty());
}

TEST_CASE("a head tells all that is known of a stream") {
  Driven log;
  Append first = birth("s", {record("a", 10), record("b", 20)}, "saga");
  first.birth->holder = HolderId("node-1");
  first.token = FencingToken{7};
  first.index = StreamIndex{"running", true, WallTime(Duration(99)), Attributes{{"z", "1"}, {"customer", "ada"}}};
  REQUIRE(ok(log.commit({first})));
  StreamHead expected{"s",
                      "saga",
                      "running",
                      true,
                      2,
                      HolderId("node-1"),
                      FencingToken{7},
                      WallTime(Duration(99)),
                      WallTime(Duration(10)),
                      WallTime(Duration(20)),
                      {{"customer", "ada"}, {"z", "1"}}};
  REQUIRE((log.head("s").value() == expected));

  Append second = append("s", 2, {record("c", 30)});
  second.token = FencingToken{7};
  REQUIRE(ok(log.commit({second})));
  expected.version = 3;
  expected.updated = WallTime(Duration(30));
  REQUIRE((log.head("s").value() == expected));

  Append third = append("s", 3, {});
  third.token = FencingToken{7};
  third.index = StreamIndex{"stuck", true, std::nullopt, Attributes{{"customer", "bob"}}};
  REQUIRE(ok(log.commit({third})));
  expected.state = "stuck";
  expected.due.reset();
  expected.attributes = {{"customer", "bob"}};
  REQUIRE((log.head("s").value() == expected));
  REQUIRE(!log.head("nobody").value());
}

TEST_CASE("a batch over several streams is taken whole or not at all") {
  Driven log;
  REQUIRE(ok(log.commit({birth("a", {record("1")}), birth("b", {record("1")})})));
  REQUIRE(
      refused(log.commit({append("a", 1, {record("2")}), birth("c", {record("1")}), append("b", 9, {record("2")})}),
              journal_errc::version_conflict));
  REQUIRE(log.read("a", 0, 9)->size() == 1);
  REQUIRE(!log.head("c").value());
  REQUIRE(ok(log.commit({append("a", 1, {record("2")}), birth("c", {record("1")}), append("b", 1, {record("2")})})));
  REQUIRE(log.read("a", 0, 9)->size() == 2);
  REQUIRE(log.read("b", 0, 9)->size() == 2);
  REQUIRE(log.head("c").value());
}

TEST_CASE("of two who append at the same version one is refused") {
  Driven log;
  REQUIRE(ok(log.commit({birth("s", {record("1")})})));
  int taken = 0, conflicts = 0;
  for (int i = 0; i < 8; ++i)
    log.host.journal().commit({{append("s", 1, {record("2")})}, {}},
                              [&](Result<void> result) { ++(result ? taken : conflicts); });
  log.host.world.run();
  REQUIRE(taken == 1);
  REQUIRE(conflicts == 7);
  REQUIRE(log.read("s", 0, 9)->size() == 2);
}

TEST_CASE("commits are taken in the order of their initiation") {
  Driven log;
  int taken = 0;
  const auto count = [&](Result<void> result) { taken += result ? 1 : 0; };
  log.host.journal().commit({{birth("s", {record("0")})}, {}}, count);
  for (std::uint64_t version = 1; version < 50; ++version)
    log.host.journal().commit({{append("s", version, {record("x")})}, {}}, count);
  log.host.world.run();
  REQUIRE(taken == 50);
}

TEST_CASE("errors say what is wrong with which stream") {
  Driven log;
  Append begun = birth("order-17", {record("1"), record("2")});
  begun.token = FencingToken{5};
  REQUIRE(ok(log.commit({begun})));
  Append late = append("order-17", 1, {record("3")});
  late.token = FencingToken{5};
  const Error conflict = log.commit({late}).error();
  REQUIRE(conflict.error_class() == ErrorClass::permanent);
  REQUIRE(conflict.message() == "stream \"order-17\" is at version 2, and the batch expects 1");
  late.token = FencingToken{4};
  const Error fenced = log.commit({late}).error();
  REQUIRE(fenced.is(journal_errc::fenced));
  REQUIRE(fenced.error_class() == ErrorClass::permanent);
  REQUIRE(fenced.message() == "stream \"order-17\" is held under token 5, and the batch has token 4");
}

TEST_CASE("a stream begins once, and only by a birth") {
  Driven log;
  REQUIRE(refused(log.commit({append("s", 1, {record("1")})}), journal_errc::version_conflict));
  REQUIRE(ok(log.commit({birth("s", {record("1")})})));
  REQUIRE(refused(log.commit({birth("s", {record("1")})}), journal_errc::version_conflict));
}

TEST_CASE("a batch that contradicts itself is refused") {
  Driven log;
  const auto bad = [&](std::vector<Append> appends) {
    return refused(log.commit(std::move(appends)), journal_errc::bad_batch);
  };
  REQUIRE(ok(log.commit(Batch())));
  REQUIRE(ok(log.commit({birth("there", {record("1")})})));
  REQUIRE(bad({birth("", {record("1")})}));
  REQUIRE(bad({birth(std::string(513, 'x'), {record("1")})}));
  REQUIRE(bad({birth("s", {record("1")}), birth("s", {record("1")})}));
  REQUIRE(bad({append("there", 0, {record("1")})}));
  REQUIRE(bad({birth("s", {})}));
  REQUIRE(bad({birth("s", {record("1")}, "")}));
  Append wrong = birth("s", {record("1")});
  wrong.expected_version = 1;
  REQUIRE(bad({wrong}));
  wrong = birth("s", {record("1")});
  wrong.index.reset();
  REQUIRE(bad({wrong}));
  wrong = birth("s", {record("1")});
  wrong.index->attributes = Attributes{{"a", "1"}, {"b", "1"}, {"a", "2"}};
  REQUIRE(bad({wrong}));
  wrong.index->attributes = Attributes{{"", "1"}};
  REQUIRE(bad({wrong}));
  wrong = birth("s", {record("1")});
  wrong.token = FencingToken{~std::uint64_t{0}};
  REQUIRE(bad({wrong}));
  wrong = birth("s", {record("1")});
  wrong.records[0].type.assign(256, 'x');
  REQUIRE(bad({wrong}));
  REQUIRE(bad(std::vector<Append>(5000, append("s", 1, {}))));
  REQUIRE(!log.head("s").value());
}

TEST_CASE("no more streams of a kind are opened than the batch allows") {
  Driven log;
  const auto limited = [](const std::string& name, bool open = true) {
    Append begun = birth(name, {record("1")}, "dead_letter");
    begun.index->open = open;
    begun.birth->open_of_kind_max = 3;
    return begun;
  };
  REQUIRE(ok(log.commit({birth("other", {record("1")}, "saga")})));
  REQUIRE(ok(log.commit({limited("a")})));
  const Error full = log.commit({limited("b"), limited("c"), limited("d")}).error();
  REQUIRE(full.is(journal_errc::kind_full));
  REQUIRE(full.error_class() == ErrorClass::rejected);
  REQUIRE(ok(log.commit({limited("b"), limited("c"), limited("e", false)})));
  REQUIRE(refused(log.commit({limited("d")}), journal_errc::kind_full));
  REQUIRE(ok(log.commit({birth("unlimited", {record("1")}, "dead_letter")})));

  for (const std::string closed : {"a", "unlimited"}) {
    Append closing = append(closed, 1, {});
    closing.index = StreamIndex{"done", false, {}, {}};
    REQUIRE(ok(log.commit({closing})));
  }
  REQUIRE(ok(log.commit({limited("d")})));
  REQUIRE(refused(log.commit({limited("f")}), journal_errc::kind_full));
}

TEST_CASE("streams are found by kind, state, openness and attributes, in the order of their births") {
  Driven log;
  const auto put = [&](const std::string& name, const std::string& kind, const std::string& state, bool open,
                       Attributes attributes) {
    Append begun = birth(name, {record("1")}, kind);
    begun.index = StreamIndex{state, open, {}, std::move(attributes)};
    REQUIRE(ok(log.commit({begun})));
  };
  put("d", "saga", "running", true, {{"customer", "ada"}, {"region", "eu"}});
  put("b", "saga", "stuck", true, {{"customer", "ada"}, {"region", "us"}});
  put("c", "saga", "done", false, {{"customer", "ada"}});
  put("a", "saga", "running", true, {{"customer", "bob"}});
  put("e", "dead_letter", "running", true, {{"customer", "ada"}});

  const auto names = [&](StreamQuery query) { return log.names(std::move(query)); };
  using Names = std::vector<std::string>;
  REQUIRE((names({.kind = "saga"}) == Names{"d", "b", "c", "a"}));
  REQUIRE((names({.kind = "nothing"}) == Names{}));
  REQUIRE((names({.kind = "saga", .open = true}) == Names{"d", "b", "a"}));
  REQUIRE((names({.kind = "saga", .open = false}) == Names{"c"}));
  REQUIRE((names({.kind = "saga", .state = "running"}) == Names{"d", "a"}));
  REQUIRE((names({.kind = "saga", .state = "running", .open = false}) == Names{}));
  REQUIRE((names({.kind = "saga", .attributes = {{"customer", "ada"}}}) == Names{"d", "b", "c"}));
  REQUIRE(
      (names({.kind = "saga", .open = true, .attributes = {{"region", "us"}, {"customer", "ada"}}}) == Names{"b"}));
  REQUIRE((names({.kind = "saga", .state = "stuck", .attributes = {{"region", "eu"}}}) == Names{}));
  REQUIRE(refused(log.find({}), journal_errc::bad_batch));
}

TEST_CASE("timers that are due are found in order of time, closed streams and others are not") {
  Driven log;
  const auto put = [&](const std::string& name, std::optional<int> due) {
    Append begun = birth(name, {record("1")});
    if (due) begun.index->due = WallTime(Duration(*due));
    REQUIRE(ok(log.commit({begun})));
  };
  put("late", 30);
  put("b", 20);
  put("a", 20);
  put("early", -10);
  put("none", std::nullopt);
  using Names = std::vector<std::string>;
  const auto due = [&](int at, std::size_t limit = 256) {
    return log.names({.kind = "saga", .due_before = WallTime(Duration(at)), .limit = limit});
  };
  REQUIRE((due(-11) == Names{}));
  REQUIRE((due(20) == Names{"early", "b", "a"}));
  REQUIRE((due(1000, 1) == Names{"early", "b", "a", "late"}));
  Append moved = append("early", 1, {});
  moved.index = StreamIndex{"running", true, WallTime(Duration(25)), {}};
  REQUIRE(ok(log.commit({moved})));
  REQUIRE((due(25) == Names{"b", "a", "early"}));
  for (const char* nonsense : {"nonsense", "1", "1:", "1:x"})
    REQUIRE(
        refused(log.find({.kind = "saga", .due_before = WallTime(), .after = nonsense}), journal_errc::bad_batch));
}

TEST_CASE("pages follow one another without loss while streams come and go") {
  Driven log;
  std::vector<std::string> expected;
  for (int i = 0; i < 57; ++i) {
    expected.push_back("s" + std::to_string(100 + i));
    Append begun = birth(expected.back(), {record("1")});
    begun.index->state = i % 2 == 0 ? "running" : "stuck";
    begun.index->open = i % 3 != 0;
    REQUIRE(ok(log.commit({begun})));
  }
  for (const std::size_t limit : {0u, 1u, 10u, 56u, 57u, 58u, 1'000'000u})
    REQUIRE((log.names({.kind = "saga", .limit = limit}) == expected));
  const StreamPage first = log.find({.kind = "saga", .limit = 57}).value();
  REQUIRE(first.next.empty());
  const StreamPage page = log.find({.kind = "saga", .limit = 10}).value();
  // The stream at which it ended goes, and another comes.
  Append closing = append("s109", 1, {});
  closing.index = StreamIndex{"done", false, {}, {}};
  REQUIRE(ok(log.commit({closing, birth("a", {record("1")})})));
  REQUIRE(ok(log.prune({.kind = "saga", .closed_kept_max = 0})));
  std::vector<std::string> later = log.names({.kind = "saga", .limit = 10, .after = page.next});
  REQUIRE(later.back() == "a");
  later.pop_back();
  std::erase_if(expected, [&](const std::string& name) { return name <= "s109" || !log.head(name).value(); });
  REQUIRE(later == expected);
  for (const char* nonsense : {"x", "1:", ":1", "1:2", "9999999999999999999"})
    REQUIRE(refused(log.find({.kind = "saga", .after = nonsense}), journal_errc::bad_batch));
}

TEST_CASE("a lease is renewed by its holder until it is released or taken again") {
  Driven log;
  const HolderId one("one"), two("two");
  const Lease first = log.acquire(one, 10, 100).value();
  REQUIRE(first.holder == one);
  REQUIRE((first.expires == WallTime(Duration(110))));
  const Lease other = log.acquire(two, 10, 100).value();
  REQUIRE(other.token > first.token);
  REQUIRE((log.renew(first, 10, 105).value() == Lease{one, first.token, WallTime(Duration(115))}));
  REQUIRE(log.renew(first, 10, 500).value().token == first.token);

  const Lease again = log.acquire(one, 10, 106).value();
  REQUIRE(again.token > other.token);
  REQUIRE(refused(log.renew(first, 10, 107), journal_errc::lease_lost));
  REQUIRE(refused(log.release(first), journal_errc::lease_lost));
  REQUIRE(ok(log.release(again)));
  REQUIRE(refused(log.renew(again, 10, 107), journal_errc::lease_lost));
  REQUIRE(refused(log.renew(Lease{HolderId("nobody"), again.token, {}}, 10, 107), journal_errc::lease_lost));
  REQUIRE(log.acquire(HolderId(), 10, 100).error().is(core_errc::bad_identifier));
}

TEST_CASE("a stream passes to another holder only once its holder's lease has run out") {
  Driven log;
  const Lease one = log.acquire(HolderId("one"), 100, 0).value();
  Append held = birth("held", {record("1")}), closed = birth("closed", {record("1")});
  for (Append* begun : {&held, &closed}) {
    begun->birth->holder = one.holder;
    begun->token = one.token;
  }
  closed.index->open = false;
  REQUIRE(ok(log.commit({held, closed, birth("free", {record("1"), record("2")})})));

  const Lease two = log.acquire(HolderId("two"), 100, 0).value();
  const auto early = log.claim(two, {"held", "closed", "free", "unknown", "free"}, 99).value();
  REQUIRE(early.size() == 1);
  REQUIRE(early[0].stream == "free");
  REQUIRE(early[0].version == 2);
  REQUIRE(early[0].token > two.token);
  REQUIRE((log.head("free").value()->token == early[0].token));
  REQUIRE(log.head("free").value()->holder == two.holder);

  const auto late = log.claim(two, {"held", "closed", "free"}, 100).value();
  REQUIRE(late.size() == 2);  // its own again, under a new token
  REQUIRE(late[0].token > early[0].token);

  Append stale = append("held", 1, {record("2")});
  stale.token = one.token;
  REQUIRE(refused(log.commit({stale}), journal_errc::fenced));
  stale.token = late[1].token;
  REQUIRE(ok(log.commit({stale})));
}

TEST_CASE("a restarted holder claims its own streams at once, and so fences off what it was before") {
  Driven log;
  const Lease before = log.acquire(HolderId("one"), 1000, 0).value();
  Append begun = birth("s", {record("1")});
  begun.birth->holder = before.holder;
  begun.token = before.token;
  REQUIRE(ok(log.commit({begun})));
  const Lease after = log.acquire(HolderId("one"), 1000, 1).value();
  REQUIRE(refused(log.claim(before, {"s"}, 1), journal_errc::lease_lost));
  REQUIRE(log.claim(after, {"s"}, 1)->size() == 1);
  Append stale = append("s", 1, {record("2")});
  stale.token = before.token;
  REQUIRE(refused(log.commit({stale}), journal_errc::fenced));
}

TEST_CASE("what a released lease held can be claimed at once, and tokens only grow") {
  Driven log;
  const Lease one = log.acquire(HolderId("one"), 1000, 0).value();
  const Lease two = log.acquire(HolderId("two"), 1000, 0).value();
  Append begun = birth("s", {record("1")});
  begun.birth->holder = one.holder;
  begun.token = FencingToken{1'000'000};  // of another counter: larger than any here
  REQUIRE(ok(log.commit({begun})));
  REQUIRE(log.claim(two, {"s"}, 1)->empty());
  REQUIRE(ok(log.release(one)));
  REQUIRE(log.claim(two, {"s"}, 1)->front().token > FencingToken{1'000'000});
  REQUIRE(log.acquire(HolderId("three"), 1, 1)->token > FencingToken{1'000'001});
}

TEST_CASE("a lease that ran out long ago is forgotten") {
  Driven log;
  const Lease old = log.acquire(HolderId("old"), 10, 0).value();
  const Duration day = std::chrono::hours(24);
  REQUIRE(ok(log.acquire(HolderId("new"), 10, 10 + day.count())));
  REQUIRE(ok(log.renew(old, 10, 11)));
  REQUIRE(ok(log.acquire(HolderId("new"), 10, 22 + day.count())));
  REQUIRE(refused(log.renew(old, 10, 11), journal_errc::lease_lost));
}

TEST_CASE("closed streams are removed by age and by count, oldest first, a bounded number at a time") {
  Driven log;
  for (int i = 0; i < 10; ++i) {
    Append begun = birth("s" + std::to_string(i), {record("1", 100 - i)});
    begun.index->attributes = Attributes{{"n", std::to_string(i)}};
    if (i >= 7) begun.birth->kind = "other";
    REQUIRE(ok(log.commit({begun})));
    if (i == 0) continue;
    Append closing = append("s" + std::to_string(i), 1, {record("2", 200 + i)});
    closing.index = StreamIndex{"done", false, {}, {}};
    REQUIRE(ok(log.commit({closing})));
  }
  // Of kind saga: s0 is open, s1 to s6 were closed at 201 to 206.
  const auto prune = [&](Retention retention) { return log.prune(std::move(retention)).value(); };
  REQUIRE(prune({.kind = "saga"}) == 0);
  REQUIRE(prune({.kind = "nothing", .closed_kept_max = 0}) == 0);
  REQUIRE(prune({.kind = "saga", .closed_before = WallTime(Duration(203))}) == 2);
  REQUIRE(!log.head("s1").value());
  REQUIRE(log.read("s2", 0, 9)->empty());
  REQUIRE(log.names({.kind = "saga", .attributes = {{"n", "2"}}}).empty());
  REQUIRE(prune({.kind = "saga", .closed_before = WallTime(Duration(205)), .closed_kept_max = 1, .limit = 1}) == 1);
  REQUIRE((log.names({.kind = "saga", .open = false}) == std::vector<std::string>{"s4", "s5", "s6"}));
  REQUIRE(prune({.kind = "saga", .closed_kept_max = 2}) == 1);
  REQUIRE(prune({.kind = "saga", .closed_kept_max = 2}) == 0);
  REQUIRE(prune({.kind = "saga", .closed_kept_max = 0}) == 2);
  REQUIRE((log.names({.kind = "saga"}) == std::vector<std::string>{"s0"}));
  REQUIRE(log.names({.kind = "other"}).size() == 3);
  REQUIRE(refused(log.prune({}), journal_errc::bad_batch));

  REQUIRE(ok(log.commit({birth("s1", {record("new")})})));  // the name is free again
  REQUIRE(log.read("s1", 0, 9)->size() == 1);
}

TEST_CASE("a stream that was opened again is kept, and counts from when it closed last") {
  Driven log;
  const auto set_open = [&](const std::string& name, std::uint64_t version, int at, bool open) {
    Append change = append(name, version, {record("x", at)});
    change.index = StreamIndex{"s", open, {}, {}};
    REQUIRE(ok(log.commit({change})));
  };
  REQUIRE(ok(log.commit({birth("a", {record("1", 1)}), birth("b", {record("1", 1)}), birth("c", {record("1", 1)})})));
  set_open("a", 1, 10, false);
  set_open("b", 1, 11, false);
  set_open("c", 1, 12, false);
  set_open("c", 2, 50, false);  // closed it was already
  set_open("a", 2, 20, true);
  REQUIRE(log.prune({.kind = "saga", .closed_before = WallTime(Duration(100)), .limit = 1}).value() == 1);
  REQUIRE(!log.head("b").value());
  set_open("a", 3, 30, false);
  REQUIRE(log.prune({.kind = "saga", .closed_kept_max = 1}).value() == 1);
  REQUIRE((log.names({.kind = "saga"}) == std::vector<std::string>{"a"}));
}

TEST_CASE("a completion comes later, on the handler's executor") {
  Driven log;
  auto strand = boost::asio::make_strand(log.host.world.executor());
  int done = 0;
  const auto on_strand = [&](auto&&) {
    ++done;
    REQUIRE(strand.running_in_this_thread());
  };
  auto& journal = log.host.journal();
  journal.commit({{birth("s", {record("1")})}, {}}, boost::asio::bind_executor(strand, on_strand));
  journal.commit({{birth("", {record("1")})}, {}}, boost::asio::bind_executor(strand, on_strand));
  journal.commit({{birth("t", {record("1")})}, {}}, boost::asio::any_completion_handler<void(Result<void>)>(
                                                        boost::asio::bind_executor(strand, on_strand)));
  journal.read("s", 0, 1, boost::asio::bind_executor(strand, on_strand));
  journal.head("s", boost::asio::any_completion_handler<void(Result<std::optional<StreamHead>>)>(
                        boost::asio::bind_executor(strand, on_strand)));
  REQUIRE(done == 0);
  log.host.world.run();
  REQUIRE(done == 5);
}

TEST_CASE("a coroutine awaits it, and a handler may begin the next operation") {
  Driven log;
  auto& journal = log.host.journal();
  bool through = false;
  boost::asio::co_spawn(
      log.host.world,
      [&]() -> boost::asio::awaitable<void> {
        Batch batch;
        batch.appends.push_back(birth("s", {record("1")}));
        const Result<void> begun = co_await journal.commit(std::move(batch), boost::asio::use_awaitable);
        REQUIRE(ok(begun));
        const auto records = co_await journal.read("s", 0, 10, boost::asio::use_awaitable);
        REQUIRE(records.value().size() == 1);
        through = true;
      },
      boost::asio::detached);
  log.host.world.run();
  REQUIRE(through);
}

TEST_CASE("a cancelled commit completes, or has not begun") {
  Driven log;
  boost::asio::cancellation_signal signal;
  std::optional<Result<void>> result;
  log.host.journal().commit(
      {{birth("s", {record("1")})}, {}},
      boost::asio::bind_cancellation_slot(signal.slot(), [&](Result<void> outcome) { result = outcome; }));
  signal.emit(boost::asio::cancellation_type::total);
  REQUIRE(!result);
  log.host.world.run();
  REQUIRE(result.has_value());
  REQUIRE(result->has_value() == log.head("s").value().has_value());
  REQUIRE(result->has_value() != JOURNAL_HOST::cancels_waiting);
  if (!*result) {
    REQUIRE(result->error().is(core_errc::cancelled));
    REQUIRE(result->error().error_class() == ErrorClass::cancelled);
  }
  signal.emit(boost::asio::cancellation_type::total);  // too late, and harmless
}

TEST_CASE("an effect that cannot join is refused, and nothing changes") {
  Driven log;
  Batch batch;
  batch.appends.push_back(birth("s", {record("1")}));
  batch.effect = [](Transaction& transaction) -> Result<void> {
    if (dynamic_cast<const ForeignTransaction*>(&transaction) != nullptr) return {};
    return Error(journal_errc::effect_unsupported, ErrorClass::permanent, "not mine");
  };
  REQUIRE(refused(log.commit(std::move(batch)), journal_errc::effect_unsupported));
  REQUIRE(!log.head("s").value());
}

TEST_CASE("random work gives what an obvious model gives") {
  for_each_seed(JOURNAL_FOLDER, "random work gives what an obvious model gives", 20, [](std::uint64_t seed) {
    Driven log(seed);
    const std::string difference = compare_with_model(log, seed, 400);
    INFO(difference);
    REQUIRE(difference.empty());
  });
}

}  // namespace
