// Values as bytes: the codecs, the concept both ways, and what happens to every payload.
#include "support/catch.hpp"

#include <aura/core/json_codec.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace user {

struct Order {
  int item = 0;
  std::string name{};
  friend bool operator==(const Order&, const Order&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, item, name)

struct Plain {};
struct WriteOnly {};
inline void to_json(nlohmann::json&, const WriteOnly&) {}
struct NoDefault {
  explicit NoDefault(int) {}
};
inline void to_json(nlohmann::json&, const NoDefault&) {}
inline void from_json(const nlohmann::json&, NoDefault&) {}
struct Throws {};
struct HalfCodec {};

}  // namespace user

template <>
struct aura::Codec<user::Throws> {
  static constexpr std::string_view encoding = "none";
  static std::string encode(const user::Throws&) { throw 42; }
  static Result<user::Throws> decode(std::string_view) { throw 42; }
};
template <>
struct aura::Codec<user::HalfCodec> {
  static constexpr std::string_view encoding = "none";
  static std::string encode(const user::HalfCodec&) { return {}; }
  static user::HalfCodec decode(std::string_view) { return {}; }  // trusts
};

namespace {

using aura::core_errc;
using aura::PayloadRules;

static_assert(aura::has_codec<int> && aura::has_codec<std::string> && aura::has_codec<user::Order>);
static_assert(aura::has_codec<std::vector<user::Order>> && aura::has_codec<std::map<std::string, double>>);
static_assert(!aura::has_codec<user::Plain> && !aura::has_codec<user::WriteOnly> && !aura::has_codec<user::NoDefault>);
static_assert(!aura::has_codec<user::HalfCodec> && aura::has_codec<user::Throws>);

}  // namespace

TEST_CASE("a value comes back as it was, through its codec") {
  const user::Order order{7, "seven"};
  REQUIRE(aura::decode_payload<user::Order>(aura::encode_payload(order, {}).value(), {}).value() == order);
  REQUIRE(aura::encode_payload(std::string("as it is\0!", 10), {}).value() == std::string("as it is\0!", 10));
  REQUIRE(aura::Codec<user::Order>::encoding == "json");
}

TEST_CASE("bytes that do not parse, or mean something else, are an error") {
  for (const char* bytes : {"", "{", "[1]", "{\"item\":1}", "{\"item\":\"x\",\"name\":\"y\"}", "null", "\xff\xfe"})
    REQUIRE(aura::decode_payload<user::Order>(bytes, {}).error().is(core_errc::bad_encoding));
  REQUIRE(aura::decode_payload<user::Order>(std::string(100'000, '['), {}).error().is(core_errc::bad_encoding));
}

TEST_CASE("a codec that throws, whatever it throws, is an error") {
  REQUIRE(aura::encode_payload(user::Throws{}, {}).error().is(core_errc::exception));
  REQUIRE(aura::decode_payload<user::Throws>("", {}).error().is(core_errc::bad_encoding));
  REQUIRE(aura::encode_payload(user::Order{1, "\xff"}, {}).error().is(core_errc::exception));  // not UTF-8
}

TEST_CASE("a payload's transformation is undone when it is read, and the limit holds for what is stored") {
  PayloadRules rules;
  rules.bytes_max = 8;
  REQUIRE(aura::encode_payload(std::string(8, 'x'), rules).has_value());
  const auto refused = aura::encode_payload(std::string(9, 'x'), rules).error();
  REQUIRE(refused.is(core_errc::too_large));
  REQUIRE(refused.message() == "a value of 9 bytes is over the payload limit of 8");
  rules.transform = [](std::string bytes) -> aura::Result<std::string> {
    std::reverse(bytes.begin(), bytes.end());
    return bytes;
  };
  rules.restore = [](std::string_view bytes) -> aura::Result<std::string> {
    return std::string(bytes.rbegin(), bytes.rend());
  };
  REQUIRE(aura::encode_payload(std::string("abc"), rules).value() == "cba");
  REQUIRE(aura::decode_payload<std::string>("cba", rules).value() == "abc");
  rules.restore = [](std::string_view) -> aura::Result<std::string> {
    return aura::Error{"vault", 1, aura::ErrorClass::transient, "no key"};
  };
  REQUIRE(aura::decode_payload<std::string>("cba", rules).error().domain() == "vault");
}
