// The trace: which request arrived when, and how large it was.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gateway {

struct Arrival {
  std::uint32_t row = 0;  ///< from 1
  aura::WallTime at{};
  std::uint32_t context_tokens = 0, generated_tokens = 0;
};

struct Trace {
  std::vector<Arrival> arrivals;  ///< in order of time, at least one
  std::uint64_t fingerprint = 0;  ///< of what was read
};

namespace detail {

inline constexpr std::uint32_t tokens_max = 10'000'000;

/// Reads digits and what stands between them from the front of a text; any mismatch makes it fail for good.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  Reader& literal(char wanted) {
    if (rest_.empty() || rest_.front() != wanted) return fail();
    rest_.remove_prefix(1);
    return *this;
  }
  Reader& number(std::size_t digits, int& value) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + std::min(digits, rest_.size()), value);
    if (error != std::errc{} || end != rest_.data() + digits || rest_.front() == '-') return fail();
    rest_.remove_prefix(digits);
    return *this;
  }
  /// ".6805900": one to nine digits of a second; may be missing.
  Reader& fraction(std::int64_t& nanoseconds) {
    nanoseconds = 0;
    if (rest_.empty()) return *this;
    literal('.');
    if (rest_.empty() || rest_.size() > 9) return fail();
    for (std::size_t i = 0; i < 9; ++i) {
      const char digit = i < rest_.size() ? rest_[i] : '0';
      if (digit < '0' || digit > '9') return fail();
      nanoseconds = nanoseconds * 10 + (digit - '0');
    }
    rest_ = {};
    return *this;
  }
  bool done() const { return ok_ && rest_.empty(); }

 private:
  Reader& fail() {
    ok_ = false;
    rest_ = {};
    return *this;
  }
  std::string_view rest_;
  bool ok_ = true;
};

inline std::optional<aura::WallTime> parse_time(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  std::int64_t nanoseconds = 0;
  Reader in(text);
  in.number(4, year).literal('-').number(2, month).literal('-').number(2, day).literal(' ');
  in.number(2, hour).literal(':').number(2, minute).literal(':').number(2, second).fraction(nanoseconds);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const bool sound = in.done() && date.ok() && year >= 1970 && year < 2200 && hour < 24 && minute < 60 && second < 60;
  if (!sound) return std::nullopt;
  const auto since_epoch = std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) +
                           std::chrono::minutes(minute) + std::chrono::seconds(second);
  return aura::WallTime(since_epoch + std::chrono::nanoseconds(nanoseconds));
}

inline std::optional<std::uint32_t> parse_tokens(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > tokens_max) return std::nullopt;
  return value;
}

/// Null where the line is an arrival, else what is wrong with it.
inline const char* parse_line(std::string_view line, Arrival& arrival) {
  const std::size_t first = line.find(','), second = line.find(',', first + 1);
  if (first == line.npos || second == line.npos || line.find(',', second + 1) != line.npos)
    return "there should be three fields: TIMESTAMP,ContextTokens,GeneratedTokens";
  const auto at = parse_time(line.substr(0, first));
  if (!at) return "the time should read like 2023-11-16 18:15:46.6805900";
  const auto context = parse_tokens(line.substr(first + 1, second - first - 1));
  if (!context) return "ContextTokens should be a number from 0 to 10000000";
  const auto generated = parse_tokens(line.substr(second + 1));
  if (!generated) return "GeneratedTokens should be a number from 0 to 10000000";
  arrival.at = *at;
  arrival.context_tokens = *context;
  arrival.generated_tokens = *generated;
  return nullptr;
}

}  // namespace detail

inline aura::Error trace_error(const std::string& name, std::size_t line, std::string_view what) {
  return {"gateway", 1, aura::ErrorClass::permanent, fmt::format("{} line {}: {}", name, line, what)};
}

/// Parses a trace in the format of the Azure Public Dataset. An error names the line. At most `rows_max` rows are read;
/// 0 is all.
inline aura::Result<Trace> parse_trace(std::istream& in, const std::string& name, std::size_t rows_max = 0) {
  Trace trace;
  std::string line;
  std::size_t number = 0;
  while (rows_max == 0 || trace.arrivals.size() < rows_max) {
    if (!std::getline(in, line)) break;
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (number == 1) {
      if (line != "TIMESTAMP,ContextTokens,GeneratedTokens")
        return trace_error(name, 1, "the header TIMESTAMP,ContextTokens,GeneratedTokens is missing");
      continue;
    }
    if (line.empty() && in.peek() == std::istream::traits_type::eof()) break;
    Arrival arrival{.row = static_cast<std::uint32_t>(number - 1)};
    if (const char* fault = detail::parse_line(line, arrival)) return trace_error(name, number, fault);
    if (!trace.arrivals.empty() && arrival.at < trace.arrivals.back().at)
      return trace_error(name, number, "the time is before that of the line above");
    trace.fingerprint = aura::fnv1a64(line, aura::fnv1a64("\n", trace.fingerprint));
    trace.arrivals.push_back(arrival);
  }
  if (in.bad()) return trace_error(name, number + 1, "reading failed");
  if (trace.arrivals.empty()) return trace_error(name, number + 1, "there is no request in it");
  return trace;
}

inline aura::Result<Trace> read_trace(const std::string& path, std::size_t rows_max = 0) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return aura::Error{"gateway", 1, aura::ErrorClass::permanent, fmt::format("{} cannot be read", path)};
  return parse_trace(file, path, rows_max);
}

/// "18:15:46"
inline std::string clock_text(aura::WallTime at) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count() % 86'400;
  return fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace gateway
