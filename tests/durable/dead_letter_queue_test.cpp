// Dead letters: looked at without being consumed, sent again, set aside, purged, and never lost.
#include "support/saga_world.hpp"

#include <aura/durable/dead_letter_queue.hpp>

namespace {

using namespace std::chrono_literals;
using aura::DeadLetter;
using aura::DeadLetterFilter;
using aura::DeadLetterPage;
using aura::Error;
using aura::ErrorClass;
using aura::journal_errc;
using aura::RedriveReport;
using aura::Result;

DeadLetter letter(std::string id, ErrorClass error_class = ErrorClass::transient) {
  DeadLetter made{.id = std::move(id), .queue = "mail", .source = "mailer", .what = "a mail"};
  made.redrive = "to somebody";
  made.payload = "hello";
  made.error = Error{"smtp", 451, error_class, "mailbox busy"};
  made.attempts = 5;
  return made;
}

struct Queue {
  using Desk = aura::DeadLetterQueue<SagaWorld::Journal>;

  explicit Queue(aura::DeadLetterLimits limits = {}) : desk(world.runtime, world.journal, std::move(limits)) {}

  Result<void> offer(DeadLetter given) {
    return world.ask<void>([&](auto done) { desk.offer(given, done); });
  }
  DeadLetterPage list(DeadLetterFilter filter = {}) {
    return world.ask<DeadLetterPage>([&](auto done) { desk.list(filter, done); }).value();
  }
  Result<void> redrive(const std::string& id, aura::Redriver redriver) {
    return world.ask<void>([&](auto done) { desk.redrive(id, redriver, done); });
  }
  RedriveReport redrive_all(aura::Duration interval, aura::Redriver redriver, DeadLetterFilter filter = {}) {
    return world.ask<RedriveReport>([&](auto done) { desk.redrive_all(filter, interval, redriver, done); }).value();
  }
  std::size_t purge(aura::WallTime before, std::size_t limit) {
    return world.ask<std::size_t>([&](auto done) { desk.purge(before, limit, "too old", done); }).value();
  }
  std::vector<aura::Record> records(const std::string& id) {
    return world.ask<std::vector<aura::Record>>([&](auto done) { world.memory.read("dead/" + id, 0, 100, done); })
        .value();
  }

  SagaWorld world{};
  Desk desk;
};

using Answer = std::function<void(Result<void>)>;

void take(const DeadLetter&, const Answer& done) { done({}); }
void refuse(const DeadLetter&, const Answer& done) {
  done(Error{"smtp", 550, ErrorClass::permanent, "no such user"});
}

}  // namespace

static_assert(aura::dead_letter_sink<Queue::Desk>);

TEST_CASE("letters are listed by queue, source, class and state, and stay where they are") {
  Queue queue;
  REQUIRE(queue.offer(letter("a")).has_value());
  REQUIRE(queue.offer(letter("b", ErrorClass::permanent)).has_value());
  DeadLetter other = letter("c");
  other.queue.clear();  // the queue's own
  REQUIRE(queue.offer(other).has_value());
  for (int twice = 0; twice < 2; ++twice) REQUIRE(queue.list().letters.size() == 3);
  REQUIRE(queue.list({.queue = "mail"}).letters.size() == 2);
  REQUIRE(queue.list({.queue = "default"}).letters.front().letter.id == "c");
  REQUIRE(queue.list({.error_class = ErrorClass::permanent}).letters.front().letter ==
          letter("b", ErrorClass::permanent));
  REQUIRE(queue.list({.source = "nobody"}).letters.empty());
  REQUIRE(queue.list({.state = "quarantined"}).letters.empty());
  const auto first = queue.list({.limit = 2});
  REQUIRE(first.letters.size() == 2);
  REQUIRE(queue.list({.limit = 2, .after = first.next}).letters.size() == 1);
}

TEST_CASE("at the limit the newest letter is refused, and none is evicted") {
  Queue queue({.open_max = 2});
  REQUIRE(queue.offer(letter("a")).has_value());
  REQUIRE(queue.offer(letter("b")).has_value());
  REQUIRE(queue.offer(letter("c")).error().is(journal_errc::kind_full));
  REQUIRE(queue.list().letters.size() == 2);
  REQUIRE(queue.redrive("a", take).has_value());
  REQUIRE(queue.offer(letter("c")).has_value());
}

TEST_CASE(
    "a letter that was redriven is closed; one that failed says so, and is quarantined when it failed often enough") {
  Queue queue({.redrives_max = 2});
  REQUIRE(queue.offer(letter("good")).has_value());
  REQUIRE(queue.offer(letter("bad")).has_value());
  std::vector<std::string> sent;
  REQUIRE(queue
              .redrive("good",
                       [&](const DeadLetter& given, auto done) {
                         sent.push_back(given.payload);
                         done({});
                       })
              .has_value());
  REQUIRE(sent == std::vector<std::string>{"hello"});
  REQUIRE(queue.redrive("good", take).error().message() == "dead letter good is closed");
  REQUIRE(queue.redrive("bad", refuse).error().message() == "no such user");
  REQUIRE(queue.list().letters.front().state == "pending");
  REQUIRE(queue.list().letters.front().failed_redrives == 1);
  REQUIRE_FALSE(queue.redrive("bad", refuse).has_value());
  REQUIRE(queue.list().letters.front().state == "quarantined");
  REQUIRE(queue.redrive_all(0s, take).redriven == 0);
  REQUIRE(queue.redrive("bad", take).has_value());  // by name it still can be
  REQUIRE(queue.list().letters.empty());
}

TEST_CASE("a redriver that throws, or answers twice, is one failure") {
  Queue queue;
  REQUIRE(queue.offer(letter("a")).has_value());
  const auto thrown = queue.redrive("a", [](const DeadLetter&, auto) { throw std::runtime_error("bad day"); });
  REQUIRE(thrown.error().message().find("bad day") != std::string_view::npos);
  REQUIRE_FALSE(queue
                    .redrive("a",
                             [](const DeadLetter& given, auto done) {
                               refuse(given, done);
                               done({});
                             })
                    .has_value());
  REQUIRE(queue.list().letters.front().failed_redrives == 2);
}

TEST_CASE("many letters are redriven one at an interval, and those that fail do not stop the others") {
  Queue queue;
  for (int i = 0; i < 250; ++i) REQUIRE(queue.offer(letter("letter-" + std::to_string(1000 + i))).has_value());
  const auto began = queue.world.runtime.steady_now();
  std::size_t seen = 0;
  const RedriveReport report = queue.redrive_all(
      1s, [&](const DeadLetter& given, auto done) { ++seen % 10 == 0 ? refuse(given, done) : take(given, done); });
  REQUIRE(report.redriven == 225);
  REQUIRE(report.failed == 25);
  REQUIRE(queue.world.runtime.steady_now() - began == 249s);
  REQUIRE(queue.list({.limit = 1000}).letters.size() == 25);
}

TEST_CASE("a quarantined letter is left alone by a bulk redrive") {
  Queue queue;
  REQUIRE(queue.offer(letter("a")).has_value());
  const auto set_aside =
      queue.world.ask<void>([&](auto done) { queue.desk.quarantine("a", "looks like an attack", done); });
  REQUIRE(set_aside.has_value());
  REQUIRE(queue.redrive_all(0s, take).redriven == 0);
  REQUIRE(queue.records("a").back().payload == "looks like an attack");
}

TEST_CASE("purging closes what is older than a time, bounded, and leaves a record of why") {
  Queue queue;
  for (const char* id : {"a", "b", "c"}) {
    DeadLetter old = letter(id);
    old.first_failure = old.last_failure = queue.world.runtime.wall_now();
    REQUIRE(queue.offer(old).has_value());
    queue.world.runtime.advance(24h);
  }
  REQUIRE(queue.purge(queue.world.runtime.wall_now() - 36h, 1) == 1);
  REQUIRE(queue.purge(queue.world.runtime.wall_now() - 36h, 10) == 1);
  REQUIRE(queue.purge(queue.world.runtime.wall_now() - 36h, 10) == 0);
  REQUIRE(queue.list().letters.front().letter.id == "c");
  REQUIRE(queue.records("a").back().payload == "purged: too old");
}

TEST_CASE("a stuck saga's letter is redriven by a retry of its step; coming back counts, up to quarantine") {
  SagaWorld world;
  int fails = 3;
  aura::Saga saga{"pay", aura::version{1}, aura::step<"charge">([&](const int&) -> Result<void> {
                                             if (fails-- > 0)
                                               return Error{"bank", 1, ErrorClass::permanent, "closed"};
                                             return {};
                                           }).retriable()};
  auto options = world.options();
  options.dead_letters.redrives_max = 2;
  auto runner = world.ready(saga, options);
  aura::DeadLetterQueue<SagaWorld::Journal> desk(world.runtime, world.journal, options.dead_letters);
  REQUIRE(world.start(*runner, saga, "r", 1).has_value());
  world.settle();
  const auto list = [&] {
    world.settle();
    return world.ask<DeadLetterPage>([&](auto done) { desk.list({.queue = "saga"}, done); }).value().letters;
  };
  REQUIRE(list().front().letter.id == "r/charge/1");
  const auto all = world.ask<RedriveReport>([&](auto done) { desk.redrive_all({}, 0s, runner->redriver(), done); });
  REQUIRE(all.value().redriven == 1);
  REQUIRE(list().front().letter.id == "r/charge/2");
  REQUIRE(list().front().state == "pending");
  REQUIRE(world.ask<void>([&](auto done) { desk.redrive("r/charge/2", runner->redriver(), done); }).has_value());
  REQUIRE(list().front().letter.redrives == 2);
  REQUIRE(list().front().state == "quarantined");
  REQUIRE(world.ask<void>([&](auto done) { desk.redrive("r/charge/3", runner->redriver(), done); }).has_value());
  REQUIRE(world.wait(*runner, "r").value().completed());
  REQUIRE(list().empty());
  REQUIRE(world.head("dead/r/charge/3")->state == "redriven");
}

TEST_CASE("a letter whose redrive failed before is closed all the same once its step goes on") {
  SagaWorld world;
  bool open = false;
  aura::Saga saga{"pay", aura::version{1}, aura::step<"charge">([&](const int&) -> Result<void> {
                                             if (!open) return Error{"bank", 1, ErrorClass::permanent, "closed"};
                                             return {};
                                           }).retriable()};
  auto runner = world.ready(saga);
  aura::DeadLetterQueue<SagaWorld::Journal> desk(world.runtime, world.journal);
  REQUIRE(world.start(*runner, saga, "r", 1).has_value());
  world.settle();
  REQUIRE_FALSE(world.ask<void>([&](auto done) { desk.redrive("r/charge/1", refuse, done); }).has_value());
  open = true;
  REQUIRE(world.retry(*runner, "r", "charge").has_value());
  REQUIRE(world.wait(*runner, "r").value().completed());
  world.settle();
  REQUIRE_FALSE(world.head("dead/r/charge/1")->open);
}

TEST_CASE("bytes that are no dead letter are refused, and say so") {
  aura::Record record{.type = "dead.letter", .payload = "nonsense"};
  REQUIRE(aura::detail::decode_dead_letter(record).error().is(aura::core_errc::bad_encoding));
  record = aura::detail::encode_dead_letter(letter("a"));
  REQUIRE(aura::detail::decode_dead_letter(record).value() == letter("a"));
  for (std::size_t cut = 0; cut < record.payload.size(); ++cut) {
    aura::Record torn = record;
    torn.payload.resize(cut);
    REQUIRE_FALSE(aura::detail::decode_dead_letter(torn).has_value());
  }
  record.schema = 2;
  REQUIRE(aura::detail::decode_dead_letter(record).error().is(aura::core_errc::newer_format));
}
