// Identifiers, trace context, errors, times, and the bytes that formats are made of.
#include "support/catch.hpp"

#include <aura/core/detail/wire.hpp>
#include <aura/core/exception.hpp>
#include <aura/core/ids.hpp>
#include <aura/core/random.hpp>
#include <aura/core/time.hpp>
#include <aura/core/trace.hpp>

#include <limits>
#include <string>
#include <unordered_set>

namespace {

using namespace std::chrono_literals;
using aura::core_errc;
using aura::Error;
using aura::ErrorClass;
using aura::RunId;
using aura::detail::WireReader;
using aura::detail::WireWriter;

std::string bytes(auto write) {
  std::string out;
  WireWriter writer(out);
  write(writer);
  return out;
}

}  // namespace

TEST_CASE("an identifier is 1 to 200 printable characters without spaces, and what is none says why") {
  REQUIRE(RunId::parse("order-17").value().str() == "order-17");
  REQUIRE(RunId::parse(std::string(200, 'x')).has_value());
  REQUIRE(RunId::parse("!~").has_value());
  for (const std::string& text : {std::string(), std::string(201, 'x'), std::string("a b"), std::string("a\n"),
                                  std::string("\x7f"), std::string("\xc3\xa9"), std::string(1, '\0')}) {
    REQUIRE(RunId::parse(text).error().is(core_errc::bad_identifier));
    REQUIRE_THROWS_AS(RunId(text), std::invalid_argument);
  }
  REQUIRE(RunId::parse("a b").error().message() ==
          "run id \"a b\" has a character other than printable ASCII without spaces");
  REQUIRE(RunId::parse(std::string(5000, 'x')).error().message().size() < 120);
  REQUIRE(RunId().empty());
  REQUIRE(RunId("a") < RunId("b"));
  REQUIRE(std::unordered_set<RunId>{RunId("a"), RunId("a")}.size() == 1);
  static_assert(!std::is_convertible_v<RunId, aura::HolderId> && !std::is_convertible_v<std::string, RunId>);
}

TEST_CASE("trace contexts of the W3C specification are read, and written as they were") {
  const std::string example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto trace = aura::parse_traceparent(example).value();
  REQUIRE(trace.trace_id[0] == 0x4b);
  REQUIRE(trace.parent_id[7] == 0xb7);
  REQUIRE(trace.flags == 1);
  REQUIRE(to_traceparent(trace) == example);
  REQUIRE(aura::parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").value().flags == 0);
  // A later version is read by its first fields, with or without more behind them.
  REQUIRE(aura::parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").has_value());
  REQUIRE(aura::parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-else").has_value());
}

TEST_CASE("what the W3C specification calls invalid is refused") {
  for (const char* header : {
           "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",         // version ff
           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",         // no trace
           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",         // no parent
           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",         // upper case
           "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",          // too short
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",    // version 00 has no more
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",    // more begins with a dash
           "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
           "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    INFO(header);
    REQUIRE(aura::parse_traceparent(header).error().is(core_errc::bad_encoding));
  }
  REQUIRE_FALSE(aura::TraceContext{}.valid());
}

TEST_CASE("numbers keep their value on the wire, at every length") {
  for (unsigned bit = 0; bit < 64; ++bit)
    for (const std::uint64_t value : {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 1, ~(std::uint64_t{1} << bit)}) {
      const std::string plain = bytes([&](WireWriter& out) { out.varint(value); });
      REQUIRE(plain.size() <= 10);
      WireReader in(plain);
      REQUIRE(in.varint() == value);
      REQUIRE((in.ok() && in.at_end()));
      const auto with_sign = static_cast<std::int64_t>(value);
      const std::string zigzag = bytes([&](WireWriter& out) { out.zigzag(with_sign); });
      REQUIRE(WireReader(zigzag).zigzag() == with_sign);
    }
  REQUIRE(bytes([](WireWriter& out) { out.varint(300); }) == "\xAC\x02");  // protobuf's own example
  REQUIRE(bytes([](WireWriter& out) { out.zigzag(-1); }) == "\x01");
  REQUIRE(bytes([](WireWriter& out) { out.zigzag(std::numeric_limits<std::int64_t>::min()); }) ==
          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

TEST_CASE("what does not parse makes the reader fail, and then it gives nothing any more") {
  const auto fails = [](std::string_view in, auto read) {
    WireReader reader(in);
    read(reader);
    return !reader.ok() && reader.byte() == 0 && reader.varint() == 0 && reader.text().empty();
  };
  const auto varint = [](WireReader& in) { (void)in.varint(); };
  REQUIRE(fails("", varint));
  REQUIRE(fails("\x80", varint));                                                          // cut off
  REQUIRE(fails("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", varint));                      // 65 bits
  REQUIRE(fails("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", varint));                  // 11 bytes
  REQUIRE(fails("\x80\x80\x80\x80\x10", [](WireReader& in) { (void)in.small(); }));        // 2^32
  REQUIRE(fails("\x03" "ab", [](WireReader& in) { (void)in.text(); }));
  REQUIRE(fails("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" "ab", [](WireReader& in) { (void)in.text(); }));
  const auto error = [](WireReader& in) { (void)in.error(); };
  REQUIRE(fails(std::string("\x01" "d" "\x02" "\x05" "\x01" "m", 6), error));              // no such class
  REQUIRE(fails(std::string("\x01" "d" "\x80\x80\x80\x80\x20" "\x00" "\x01" "m", 10), error));  // no 32-bit code
}

TEST_CASE("random bytes never lead the reader out of them") {
  aura::Random dice(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string in(dice.below(40), '\0');
    for (char& c : in) c = static_cast<char>(dice());
    WireReader reader(in);
    while (reader.ok() && !reader.at_end()) {
      switch (dice.below(5)) {
        case 0: (void)reader.byte(); break;
        case 1: (void)reader.varint(); break;
        case 2: (void)reader.zigzag(); break;
        case 3: REQUIRE(reader.text().size() <= in.size()); break;
        case 4: (void)reader.error(); break;
      }
    }
  }
}

TEST_CASE("an error keeps domain, code, class and line on the wire, and copies share what they say") {
  for (const ErrorClass error_class : {ErrorClass::transient, ErrorClass::permanent, ErrorClass::timeout,
                                       ErrorClass::cancelled, ErrorClass::rejected}) {
    const Error error("domain", -7, error_class, "a line");
    const std::string wire = bytes([&](WireWriter& out) { out.error(error); });
    REQUIRE(WireReader(wire).error().value() == error);
  }
  Error copy;
  {
    const Error error("d", 3, ErrorClass::timeout, std::string(1000, 'x'));
    copy = error;
  }
  REQUIRE(copy.message() == std::string(1000, 'x'));
  REQUIRE(to_string(Error{core_errc::timed_out, ErrorClass::timeout, "late"}) == "core/6 timeout: late");
  REQUIRE(Error{core_errc::timed_out, ErrorClass::timeout, "late"}.is(core_errc::timed_out));
  REQUIRE_FALSE(Error("journal", 6, ErrorClass::timeout, "late").is(core_errc::timed_out));
  REQUIRE(Error().message() == "an Error that nobody filled in");
}

TEST_CASE("a result that holds an error throws it when its value is asked for") {
  const aura::Result<int> failed = Error{core_errc::timed_out, ErrorClass::timeout, "late"};
  try {
    (void)failed.value();
    FAIL("it did not throw");
  } catch (const aura::ErrorException& thrown) {
    REQUIRE(thrown.error().is(core_errc::timed_out));
  }
}

TEST_CASE("what was thrown becomes an error of the class that fits") {
  const auto caught = [](auto what) {
    try {
      throw what;
    } catch (...) {
      return aura::error_of_current_exception("step charge");
    }
  };
  using boost::system::system_error;
  namespace errc = boost::system::errc;
  REQUIRE(caught(std::runtime_error("boom")).message() == "step charge threw: boom");
  REQUIRE(caught(std::runtime_error("boom")).error_class() == ErrorClass::transient);
  REQUIRE(caught(42).error_class() == ErrorClass::transient);
  REQUIRE(caught(system_error(make_error_code(errc::operation_canceled))).error_class() == ErrorClass::cancelled);
  REQUIRE(caught(system_error(make_error_code(errc::timed_out))).error_class() == ErrorClass::timeout);
  REQUIRE(caught(system_error(make_error_code(errc::io_error))).error_class() == ErrorClass::transient);
  const Error own("d", 1, ErrorClass::permanent, "mine");
  REQUIRE(caught(aura::ErrorException(own)) == own);
}

TEST_CASE("the two time lines cannot be mixed, and sums stay on them") {
  static_assert(!std::is_convertible_v<aura::SteadyTime, aura::WallTime>);
  static_assert(!std::is_constructible_v<aura::SteadyTime, aura::WallTime>);
  using aura::SteadyTime;
  REQUIRE(aura::saturating_add(SteadyTime::max(), 1h) == SteadyTime::max());
  REQUIRE(aura::saturating_add(SteadyTime::max() - 1ns, 1ns) == SteadyTime::max());
  REQUIRE(aura::saturating_add(SteadyTime::min(), -1h) == SteadyTime::min());
  REQUIRE(aura::saturating_add(SteadyTime(5s), -2s) == SteadyTime(3s));
  REQUIRE(aura::saturating_add(SteadyTime(5s), aura::Duration::max()) == SteadyTime::max());
  REQUIRE(aura::saturating_add(SteadyTime(-5s), aura::Duration::min()) == SteadyTime::min());
}
