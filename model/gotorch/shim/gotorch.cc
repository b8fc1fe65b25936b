// The C ABI between gotorch and libtorch.
//
// One entry point, pf_call, runs any ATen operator through the dispatcher, so
// that this file does not grow with the operators in use and does not depend
// on the C++ signatures that change from one libtorch to the next. The rest is
// what the dispatcher cannot do: autograd, host memory, devices, generators,
// CUDA graphs, mixed precision.
//
// Rules that hold for every function here:
//   - no C++ exception leaves it: the message is written to `err` (kErrorBytes
//     long, NUL-terminated) and the function returns kFailed;
//   - a tensor handle is one counted reference to a TensorImpl. Zero stands for
//     "no tensor". The caller gives each handle back through pf_release;
//   - nothing is kept in thread-local state, so the caller may move between
//     threads from one call to the next (libtorch's own settings that are per
//     thread are grad mode, OpenMP, the current stream and autocast; the caller
//     stays on one thread from pf_enter_thread on while it changes those).
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/SmallVector.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

// The toolkit's headers come in several packages, of which one may be missing.
#if defined(PF_CUDA) && !defined(PF_NO_TOOLKIT) && __has_include(<cuda.h>) && \
    __has_include(<cuda_runtime_api.h>) && __has_include(<crt/host_defines.h>)
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#define PF_CUDA_TOOLKIT 1
#endif

namespace {

constexpr int64_t kFailed = -1;
constexpr size_t kErrorBytes = 4096;

std::atomic<int64_t> live_tensors{0};

// Tag says what one packed argument or result is. call.go holds the same list.
enum Tag : uint8_t {
  kNone = 0,
  kTensor,
  kInt,
  kDouble,
  kBool,
  kString,
  kIntList,
  kDoubleList,
  kBoolList,
  kTensorList,
  kDType,
  kDevice,
  kLayout,
  kMemoryFormat,
  kGenerator,
};

const char* tag_name(uint8_t tag) {
  static const char* const names[] = {
      "none",      "Tensor",    "int",      "float", "bool",   "str",    "int[]",        "float[]",
      "bool[]",    "Tensor[]",  "dtype",    "device", "layout", "memory format", "Generator"};
  return tag < sizeof(names) / sizeof(names[0]) ? names[tag] : "unknown tag";
}

void set_error(char* err, const char* text) {
  std::strncpy(err, text, kErrorBytes - 1);
  err[kErrorBytes - 1] = 0;
}

// guarded runs body and turns whatever it throws into kFailed and a message.
template <class Body>
int64_t guarded(char* err, Body body) {
  try {
    return body();
  } catch (const c10::Error& e) {
    set_error(err, e.what_without_backtrace());
  } catch (const std::exception& e) {
    set_error(err, e.what());
  } catch (...) {
    set_error(err, "unknown C++ exception");
  }
  return kFailed;
}

using TensorPtr = c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

at::Tensor borrow(uint64_t handle) {
  if (handle == 0) return at::Tensor();
  return at::Tensor(TensorPtr::reclaim_copy(reinterpret_cast<c10::TensorImpl*>(handle)));
}

uint64_t hand_out(at::Tensor t) {
  if (!t.defined()) return 0;
  live_tensors.fetch_add(1, std::memory_order_relaxed);
  return reinterpret_cast<uint64_t>(t.unsafeReleaseTensorImpl());
}

std::vector<at::Tensor> borrow_all(const uint64_t* handles, int64_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (int64_t i = 0; i < n; i++) out.push_back(borrow(handles[i]));
  return out;
}

using GeneratorPtr = c10::intrusive_ptr<c10::GeneratorImpl>;

at::Generator borrow_generator(uint64_t handle) {
  return at::Generator(GeneratorPtr::reclaim_copy(reinterpret_cast<c10::GeneratorImpl*>(handle)));
}

// A device travels as one word: type in the low byte, index (signed) above it.
c10::Device device_of(uint64_t word) {
  return c10::Device(static_cast<c10::DeviceType>(word & 0xff),
                     static_cast<c10::DeviceIndex>(static_cast<int8_t>(word >> 8)));
}

uint64_t device_word(c10::Device d) {
  return static_cast<uint8_t>(d.type()) | (static_cast<uint64_t>(static_cast<uint8_t>(d.index())) << 8);
}

// Want is what the schema asks of one argument, worked out once per operator.
enum class Want : uint8_t {
  Tensor, Int, Float, Bool, Number, String, DType, Layout, MemoryFormat, Device, Generator,
  IntList, FloatList, BoolList, NumberList, TensorList, OptionalTensorList, Unsupported,
};

struct Parameter {
  Want want = Want::Unsupported;
  bool optional = false;
  bool sized_list = false;  // int[2] takes a single int for all its places
  bool has_default = false;
  c10::IValue default_value;
  std::string name;
  std::string type;
};

struct Operator {
  c10::OperatorHandle handle;
  std::vector<Parameter> parameters;
};

Want want_of_list(const c10::TypePtr& element) {
  switch (element->kind()) {
    case c10::TypeKind::IntType: return Want::IntList;
    case c10::TypeKind::FloatType: return Want::FloatList;
    case c10::TypeKind::BoolType: return Want::BoolList;
    case c10::TypeKind::NumberType: return Want::NumberList;
    case c10::TypeKind::TensorType: return Want::TensorList;
    case c10::TypeKind::OptionalType: {
      auto inner = element->castRaw<c10::OptionalType>()->getElementType();
      return inner->kind() == c10::TypeKind::TensorType ? Want::OptionalTensorList : Want::Unsupported;
    }
    default: return Want::Unsupported;
  }
}

// `fake` is the type under which the dispatcher checks a value: SymInt reads as
// int there, which is what is wanted. But dtype, layout and memory format read
// as int as well, and only `real` tells them apart.
Want want_of(const c10::TypePtr& real, const c10::TypePtr& fake) {
  switch (real->kind()) {
    case c10::TypeKind::ScalarTypeType: return Want::DType;
    case c10::TypeKind::LayoutType: return Want::Layout;
    case c10::TypeKind::MemoryFormatType: return Want::MemoryFormat;
    default: break;
  }
  switch (fake->kind()) {
    case c10::TypeKind::TensorType: return Want::Tensor;
    case c10::TypeKind::IntType: return Want::Int;
    case c10::TypeKind::FloatType: return Want::Float;
    case c10::TypeKind::BoolType: return Want::Bool;
    case c10::TypeKind::NumberType: return Want::Number;
    case c10::TypeKind::StringType: return Want::String;
    case c10::TypeKind::DeviceObjType: return Want::Device;
    case c10::TypeKind::GeneratorType: return Want::Generator;
    case c10::TypeKind::ListType: return want_of_list(fake->castRaw<c10::ListType>()->getElementType());
    default: return Want::Unsupported;
  }
}

c10::TypePtr strip_optional(const c10::TypePtr& type, bool* was_optional) {
  if (type->kind() != c10::TypeKind::OptionalType) return type;
  *was_optional = true;
  return type->castRaw<c10::OptionalType>()->getElementType();
}

Parameter parameter_of(const c10::Argument& arg) {
  Parameter p;
  auto real = strip_optional(arg.real_type(), &p.optional);
  auto fake = strip_optional(arg.type(), &p.optional);
  p.want = want_of(real, fake);
  p.sized_list = arg.N().has_value();
  p.has_default = arg.default_value().has_value();
  if (p.has_default) p.default_value = *arg.default_value();
  p.name = arg.name();
  p.type = arg.real_type()->str();
  return p;
}

// Argument is one packed argument: a header word (tag in bits 0-7, index of the
// schema parameter in bits 8-31, count in bits 32-63), then its payload words.
struct Argument {
  uint8_t tag;
  uint32_t index;
  uint32_t count;
  const uint64_t* words;
};

double as_double(uint64_t word) {
  double d;
  std::memcpy(&d, &word, sizeof d);
  return d;
}

size_t payload_words(uint8_t tag, uint32_t count) {
  switch (tag) {
    case kNone: return 0;
    case kString: return (static_cast<size_t>(count) + 7) / 8;
    case kIntList: case kDoubleList: case kBoolList: case kTensorList: return count;
    default: return 1;
  }
}

[[noreturn]] void wrong_type(const Parameter& p, const Argument& a) {
  throw std::invalid_argument("argument \"" + p.name + "\" wants " + p.type + ", got " + tag_name(a.tag));
}

c10::IValue scalar_value(const Parameter& p, const Argument& a) {
  switch (a.tag) {
    case kInt: return c10::IValue(static_cast<int64_t>(a.words[0]));
    case kDouble: return c10::IValue(as_double(a.words[0]));
    case kBool: return c10::IValue(a.words[0] != 0);
    default: wrong_type(p, a);
  }
}

c10::IValue int_list(const Parameter& p, const Argument& a) {
  c10::List<int64_t> list;
  if (a.tag == kInt && p.sized_list) {
    list.push_back(static_cast<int64_t>(a.words[0]));
    return list;
  }
  if (a.tag != kIntList) wrong_type(p, a);
  list.reserve(a.count);
  for (uint32_t i = 0; i < a.count; i++) list.push_back(static_cast<int64_t>(a.words[i]));
  return list;
}

c10::IValue float_list(const Parameter& p, const Argument& a) {
  if (a.tag != kDoubleList) wrong_type(p, a);
  c10::List<double> list;
  for (uint32_t i = 0; i < a.count; i++) list.push_back(as_double(a.words[i]));
  return list;
}

c10::IValue bool_list(const Parameter& p, const Argument& a) {
  if (a.tag != kBoolList) wrong_type(p, a);
  c10::List<bool> list;
  for (uint32_t i = 0; i < a.count; i++) list.push_back(a.words[i] != 0);
  return list;
}

c10::IValue number_list(const Parameter& p, const Argument& a) {
  if (a.tag != kDoubleList && a.tag != kIntList) wrong_type(p, a);
  c10::impl::GenericList list(c10::NumberType::get());
  for (uint32_t i = 0; i < a.count; i++) {
    if (a.tag == kIntList) list.push_back(c10::IValue(static_cast<int64_t>(a.words[i])));
    else list.push_back(c10::IValue(as_double(a.words[i])));
  }
  return list;
}

c10::IValue tensor_list(const Parameter& p, const Argument& a) {
  if (a.tag != kTensorList) wrong_type(p, a);
  c10::List<at::Tensor> list;
  list.reserve(a.count);
  for (uint32_t i = 0; i < a.count; i++) {
    if (a.words[i] == 0) throw std::invalid_argument("argument \"" + p.name + "\": element " + std::to_string(i) + " is nil");
    list.push_back(borrow(a.words[i]));
  }
  return list;
}

// c10::optional in older libtorch, std::optional in newer: IValue knows which.
using OptionalTensor = std::decay_t<decltype(std::declval<c10::IValue>().toOptional<at::Tensor>())>;

c10::IValue optional_tensor_list(const Parameter& p, const Argument& a) {
  if (a.tag != kTensorList) wrong_type(p, a);
  c10::List<OptionalTensor> list;
  list.reserve(a.count);
  for (uint32_t i = 0; i < a.count; i++) {
    list.push_back(a.words[i] == 0 ? OptionalTensor() : OptionalTensor(borrow(a.words[i])));
  }
  return list;
}

uint64_t single(const Parameter& p, const Argument& a, uint8_t tag) {
  if (a.tag != tag) wrong_type(p, a);
  return a.words[0];
}

// libtorch believes a dtype, and makes tensors of unknown ones.
c10::ScalarType dtype_of(const Parameter& p, uint64_t word) {
  if (word >= static_cast<uint64_t>(c10::ScalarType::Undefined)) {
    throw std::invalid_argument("argument \"" + p.name + "\": no element type has the number " + std::to_string(static_cast<int64_t>(word)));
  }
  return static_cast<c10::ScalarType>(word);
}

c10::IValue value_of(const Parameter& p, const Argument& a) {
  if (a.tag == kNone) {
    if (p.optional) return c10::IValue();
    wrong_type(p, a);
  }
  switch (p.want) {
    case Want::Tensor: return borrow(single(p, a, kTensor));
    case Want::Int: return static_cast<int64_t>(single(p, a, kInt));
    case Want::Float:
      if (a.tag == kInt) return static_cast<double>(static_cast<int64_t>(a.words[0]));
      return as_double(single(p, a, kDouble));
    case Want::Bool: return single(p, a, kBool) != 0;
    case Want::Number: return scalar_value(p, a);
    case Want::String:
      if (a.tag != kString) wrong_type(p, a);
      return std::string(reinterpret_cast<const char*>(a.words), a.count);
    case Want::DType: return dtype_of(p, single(p, a, kDType));
    case Want::Layout: return static_cast<c10::Layout>(single(p, a, kLayout));
    case Want::MemoryFormat: return static_cast<c10::MemoryFormat>(single(p, a, kMemoryFormat));
    case Want::Device: return device_of(single(p, a, kDevice));
    case Want::Generator: return borrow_generator(single(p, a, kGenerator));
    case Want::IntList: return int_list(p, a);
    case Want::FloatList: return float_list(p, a);
    case Want::BoolList: return bool_list(p, a);
    case Want::NumberList: return number_list(p, a);
    case Want::TensorList: return tensor_list(p, a);
    case Want::OptionalTensorList: return optional_tensor_list(p, a);
    case Want::Unsupported: break;
  }
  throw std::invalid_argument("argument \"" + p.name + "\" of type " + p.type + " cannot be passed from Go");
}

// Results collects the packed return values; they go to the caller's buffer
// when they fit there.
using Results = c10::SmallVector<uint64_t, 32>;

void put(Results& out, Tag tag, uint64_t count) {
  out.push_back(tag | (count << 32));
}

void pack_list(Results& out, const c10::IValue& v) {
  auto elements = v.toListRef();
  bool tensors = v.isTensorList();
  put(out, tensors ? kTensorList : kIntList, elements.size());
  for (const auto& e : elements) {
    out.push_back(tensors ? hand_out(e.toTensor()) : static_cast<uint64_t>(e.toInt()));
  }
}

void pack_string(Results& out, const std::string& s) {
  put(out, kString, s.size());
  size_t start = out.size();
  out.resize(start + payload_words(kString, static_cast<uint32_t>(s.size())), 0);
  std::memcpy(out.data() + start, s.data(), s.size());
}

bool can_pack(const c10::IValue& v) {
  return v.isNone() || v.isTensor() || v.isInt() || v.isDouble() || v.isBool() || v.isString() ||
         v.isTensorList() || v.isIntList();
}

void pack(Results& out, const c10::IValue& v) {
  if (v.isTensor()) {
    put(out, kTensor, 1);
    out.push_back(hand_out(v.toTensor()));
  } else if (v.isInt()) {
    put(out, kInt, 1);
    out.push_back(static_cast<uint64_t>(v.toInt()));
  } else if (v.isDouble()) {
    double d = v.toDouble();
    uint64_t word;
    std::memcpy(&word, &d, sizeof word);
    put(out, kDouble, 1);
    out.push_back(word);
  } else if (v.isBool()) {
    put(out, kBool, 1);
    out.push_back(v.toBool());
  } else if (v.isString()) {
    pack_string(out, v.toStringRef());
  } else if (v.isNone()) {
    put(out, kNone, 0);
  } else {
    pack_list(out, v);
  }
}

// deliver copies results to the caller's buffer; when they do not fit, the
// buffer's first word holds memory of ours that pf_take copies and frees.
int64_t deliver(const Results& results, uint64_t* out, int64_t capacity) {
  int64_t n = static_cast<int64_t>(results.size());
  size_t bytes = results.size() * sizeof(uint64_t);
  if (n <= capacity) {
    std::memcpy(out, results.data(), bytes);
    return n;
  }
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  std::memcpy(memory, results.data(), bytes);
  out[0] = reinterpret_cast<uint64_t>(memory);
  return n;
}

using Stack = std::vector<c10::IValue>;

// fill_stack lays the arguments out in schema order, with defaults where the
// caller gave nothing.
void fill_stack(const Operator& op, const uint64_t* words, int64_t nargs, Stack& stack) {
  const size_t n = op.parameters.size();
  stack.resize(n);
  c10::SmallVector<bool, 16> given(n, false);
  for (int64_t i = 0; i < nargs; i++) {
    uint64_t head = *words++;
    Argument a{static_cast<uint8_t>(head), static_cast<uint32_t>((head >> 8) & 0xffffff),
               static_cast<uint32_t>(head >> 32), words};
    if (a.index >= n) throw std::invalid_argument("too many arguments: the operator takes " + std::to_string(n));
    const Parameter& p = op.parameters[a.index];
    if (given[a.index]) throw std::invalid_argument("argument \"" + p.name + "\" given twice");
    stack[a.index] = value_of(p, a);
    given[a.index] = true;
    words += payload_words(a.tag, a.count);
  }
  for (size_t i = 0; i < n; i++) {
    if (given[i]) continue;
    const Parameter& p = op.parameters[i];
    if (!p.has_default) throw std::invalid_argument("argument \"" + p.name + "\" (" + p.type + ") is missing");
    stack[i] = p.default_value;
  }
}

// The operators found so far. They are never freed: their number is bounded by
// the number of operators that the program names.
struct Registry {
  std::mutex mutex;  // guards found
  std::unordered_map<std::string, std::unique_ptr<Operator>> found;
};

Registry& registry() {
  static Registry* r = new Registry();
  return *r;
}

Operator* find_operator(const char* name, const char* overload) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  auto& slot = r.found[std::string(name) + "." + overload];
  if (!slot) {
    auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    auto op = std::make_unique<Operator>(Operator{handle, {}});
    for (const auto& arg : handle.schema().arguments()) op->parameters.push_back(parameter_of(arg));
    slot = std::move(op);
  }
  return slot.get();
}

// OpenBLAS on pthreads has a thread count of its own, which libtorch does not
// set: without this it would use every core whatever the session asked for. Its
// OpenMP build follows OpenMP's setting by itself.
void set_blas_threads(int n) {
  constexpr int kPthreads = 1;  // openblas_get_parallel's answer
  static const auto parallel = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_parallel"));
  static const auto set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (parallel != nullptr && set != nullptr && parallel() == kPthreads) set(n);
}

// Autocast's functions name the device in their arguments since libtorch 2.4 and
// in their own names before. Each pair below is one question in both forms; the
// last argument prefers the newer where it compiles.
namespace autocast {

using namespace at::autocast;

template <class D>
auto enabled(D device, int) -> decltype(is_autocast_enabled(device)) {
  return is_autocast_enabled(device);
}

template <class D>
bool enabled(D device, long) {
  return device == c10::DeviceType::CPU ? is_cpu_enabled() : is_enabled();
}

template <class D>
auto enable(D device, bool on, int) -> decltype(set_autocast_enabled(device, on)) {
  set_autocast_enabled(device, on);
}

template <class D>
void enable(D device, bool on, long) {
  device == c10::DeviceType::CPU ? set_cpu_enabled(on) : set_enabled(on);
}

template <class D>
auto dtype(D device, int) -> decltype(get_autocast_dtype(device)) {
  return get_autocast_dtype(device);
}

template <class D>
c10::ScalarType dtype(D device, long) {
  return device == c10::DeviceType::CPU ? get_autocast_cpu_dtype() : get_autocast_gpu_dtype();
}

template <class D>
auto set_dtype(D device, c10::ScalarType t, int) -> decltype(set_autocast_dtype(device, t)) {
  set_autocast_dtype(device, t);
}

template <class D>
void set_dtype(D device, c10::ScalarType t, long) {
  device == c10::DeviceType::CPU ? set_autocast_cpu_dtype(t) : set_autocast_gpu_dtype(t);
}

}  // namespace autocast

// WithoutAutocast turns mixed precision off while gradients are taken: a backward
// pass repeats the casts of its forward pass, and wants no others. On CUDA it runs
// on another thread, which learns that autocast is on but from an older libtorch
// not to which type: it would round to float16, where small gradients are zero.
struct WithoutAutocast {
  c10::impl::ExcludeDispatchKeyGuard guard{c10::autocast_dispatch_keyset};
};

#ifdef PF_CUDA_TOOLKIT

// A captured step draws from the session's generator, which must then be known
// to the graph. Since libtorch 2.4 one registers it.
template <class G, class = void>
struct takes_generators : std::false_type {};
template <class G>
struct takes_generators<
    G, std::void_t<decltype(std::declval<G&>().register_generator_state(std::declval<const at::Generator&>()))>>
    : std::true_type {};

// In the newest a graph finds the generators that are drawn from. The function
// takes only a generator's inner state there, and having one form has an address.
template <class G, class = void>
struct finds_generators : std::false_type {};
template <class G>
struct finds_generators<G, std::void_t<decltype(&G::register_generator_state)>> : std::true_type {};

namespace pools {

using namespace c10::cuda::CUDACachingAllocator;

// forget takes back what a capture that broke told the allocator. A template,
// since the allocator's functions are younger than the oldest libtorch.
template <class Pool>
auto forget(c10::DeviceIndex device, Pool pool, int)
    -> decltype(endAllocateToPool(device, pool), releasePool(device, pool)) {
  endAllocateToPool(device, pool);
  releasePool(device, pool);
}

template <class Pool>
void forget(c10::DeviceIndex, Pool, long) {}

}  // namespace pools

// Capture owns a CUDA graph and the memory that its tensors lie in.
template <class G>
class Capture {
 public:
  // why_not is empty where steps can be captured.
  static const char* why_not() {
    return supported ? "" : "this libtorch cannot capture draws from a session's generator; 2.4 and later can";
  }

  // begin and end are called with the side stream current.
  void begin(c10::Device device, const at::Generator& generator) {
    if constexpr (supported) {
      try {
        start(device, generator);
      } catch (...) {
        mend(device, generator);
        throw;
      }
    }
  }

  void end(c10::Device device, const at::Generator& generator, bool keep) {
    try {
      graph_->capture_end();
    } catch (...) {
      mend(device, generator);
      throw;
    }
    if (!keep) graph_.reset();
  }

  void replay() { graph_->replay(); }

 private:
  static constexpr bool supported = takes_generators<G>::value || finds_generators<G>::value;

  void start(c10::Device device, const at::Generator& generator) {
    graph_ = std::make_unique<G>();
    pool_ = at::cuda::graph_pool_handle();
    if constexpr (takes_generators<G>::value) graph_->register_generator_state(generator);
    // Other sessions of the process may allocate meanwhile, on their threads.
    if constexpr (supported) graph_->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
  }

  // mend puts right what a capture that broke leaves behind: the allocator would
  // believe it goes on, and so would the generators, which then refuse to draw.
  // Those learn that it is over from another one that ends. The allocator may
  // still ask the broken graph for its stream, so that object is never freed.
  void mend(c10::Device device, const at::Generator& generator) {
    if constexpr (supported) {
      graph_.release();
      quietly([&] { pools::forget(device.index(), pool_, 0); });
      quietly([&] {
        at::Tensor something = at::empty({1}, at::TensorOptions().device(device));
        start(device, generator);
        something.zero_();
        graph_->capture_end();
      });
      if (graph_ != nullptr) graph_.reset();
    }
  }

  template <class Body>
  static void quietly(Body body) {
    try {
      body();
    } catch (...) {
    }
  }

  std::unique_ptr<G> graph_;
  decltype(at::cuda::graph_pool_handle()) pool_;
};

using DeviceCapture = Capture<at::cuda::CUDAGraph>;

#else

// Without the toolkit's headers nothing is captured, and so only why_not is
// ever called.
struct DeviceCapture {
  static const char* why_not() { return "the shim was compiled without the CUDA toolkit's headers"; }
  void begin(c10::Device, const at::Generator&) {}
  void end(c10::Device, const at::Generator&, bool) {}
  void replay() {}
};

#endif

// Graph is a step that is captured, or is to be, and the stream for that: CUDA
// captures no default stream.
struct Graph {
  explicit Graph(c10::Device d)
      : device(d), guard(d.type()), outer_device(d), outer(guard.getDefaultStream(d)), side(guard.getStreamFromGlobalPool(d)) {}

  // enter makes the side stream current; it goes on from what was queued before.
  void enter() {
    outer_device = guard.exchangeDevice(device);
    outer = guard.exchangeStream(side);
    hand_over(outer, side);
  }

  void leave() {
    hand_over(side, outer);
    guard.exchangeStream(outer);
    guard.setDevice(outer_device);
  }

  c10::Device device;
  c10::impl::VirtualGuardImpl guard;
  c10::Device outer_device;
  c10::Stream outer;
  c10::Stream side;
  at::Generator generator;  // given to the capture
  DeviceCapture capture;

 private:
  void hand_over(const c10::Stream& from, const c10::Stream& to) {
    c10::Event done(device.type());
    done.record(from);
    done.block(to);
  }
};

Graph* graph_of(uint64_t handle) { return reinterpret_cast<Graph*>(handle); }

int64_t copy_text(const std::string& text, char* dst, int64_t capacity) {
  int64_t n = static_cast<int64_t>(text.size());
  if (n <= capacity) std::memcpy(dst, text.data(), text.size());
  return n;
}

}  // namespace

extern "C" {

// pf_abi is raised whenever a signature below changes.
int64_t pf_abi() { return 2; }

int64_t pf_live_tensors() { return live_tensors.load(std::memory_order_relaxed); }

void pf_release(const uint64_t* handles, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if (handles[i] == 0) continue;
    TensorPtr::reclaim(reinterpret_cast<c10::TensorImpl*>(handles[i]));
    live_tensors.fetch_sub(1, std::memory_order_relaxed);
  }
}

int64_t pf_has_operator(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchema({name, overload}).has_value();
}

int64_t pf_find_operator(const char* name, const char* overload, uint64_t* op, char* err) {
  return guarded(err, [&] {
    *op = reinterpret_cast<uint64_t>(find_operator(name, overload));
    return int64_t{0};
  });
}

// pf_describe writes the schema, then the name of each parameter, one a line.
int64_t pf_describe(uint64_t op, char* dst, int64_t capacity, char* err) {
  return guarded(err, [&] {
    auto* o = reinterpret_cast<Operator*>(op);
    std::string text = c10::toString(o->handle.schema());
    for (const auto& p : o->parameters) text += "\n" + p.name;
    return copy_text(text, dst, capacity);
  });
}

// pf_call runs one operator. Returns the number of result words (see deliver),
// or zero with discard set: for in-place operators, whose result the caller has.
int64_t pf_call(uint64_t op, const uint64_t* args, int64_t nargs, uint64_t* out, int64_t capacity,
                int64_t discard, char* err) {
  return guarded(err, [&] {
    auto* o = reinterpret_cast<Operator*>(op);
    Stack stack;
    fill_stack(*o, args, nargs, stack);
    o->handle.callBoxed(&stack);
    if (discard) return int64_t{0};
    for (const auto& v : stack) {
      if (!can_pack(v)) throw std::runtime_error("a result of type " + v.tagKind() + " cannot be returned to Go");
    }
    Results results;
    for (const auto& v : stack) pack(results, v);
    return deliver(results, out, capacity);
  });
}

void pf_take(uint64_t memory, uint64_t* dst, int64_t words) {
  std::memcpy(dst, reinterpret_cast<void*>(memory), words * sizeof(uint64_t));
  std::free(reinterpret_cast<void*>(memory));
}

// pf_info: dtype, device, requires_grad, is_leaf, number of dimensions, sizes.
// Returns the words wanted; writes nothing when there is room for fewer.
int64_t pf_info(uint64_t handle, uint64_t* out, int64_t capacity, char* err) {
  return guarded(err, [&] {
    at::Tensor t = borrow(handle);
    auto sizes = t.sizes();
    int64_t n = 5 + static_cast<int64_t>(sizes.size());
    if (n > capacity) return n;
    out[0] = static_cast<uint64_t>(t.scalar_type());
    out[1] = device_word(t.device());
    out[2] = t.requires_grad();
    out[3] = t.is_leaf();
    out[4] = sizes.size();
    for (size_t i = 0; i < sizes.size(); i++) out[5 + i] = static_cast<uint64_t>(sizes[i]);
    return n;
  });
}

// From this size on, what goes to a GPU goes by way of pinned memory.
constexpr int64_t kPinnedBytes = 1 << 20;

int64_t pf_from_host(const void* data, int64_t bytes, const int64_t* sizes, int64_t ndim, int64_t dtype,
                     uint64_t device, uint64_t* out, char* err) {
  return guarded(err, [&] {
    c10::Device d = device_of(device);
    // libtorch keeps pinned memory for the next call. Ordinary memory of this size
    // comes fresh from the system every time, and the driver copies it once more.
    bool pinned = d.is_cuda() && bytes >= kPinnedBytes;
    auto options = at::TensorOptions().dtype(static_cast<c10::ScalarType>(dtype)).pinned_memory(pinned);
    at::Tensor t = at::empty(c10::IntArrayRef(sizes, ndim), options);
    if (static_cast<int64_t>(t.nbytes()) != bytes) {
      throw std::invalid_argument("shape asks for " + std::to_string(t.nbytes()) + " bytes, data has " + std::to_string(bytes));
    }
    if (bytes > 0) std::memcpy(t.data_ptr(), data, bytes);
    if (!d.is_cpu()) t = t.to(d, t.scalar_type(), /*non_blocking=*/pinned);
    *out = hand_out(std::move(t));
    return int64_t{0};
  });
}

// pf_to_host converts to dtype on the way; `bytes` must be the exact size.
int64_t pf_to_host(uint64_t handle, int64_t dtype, void* dst, int64_t bytes, char* err) {
  return guarded(err, [&] {
    c10::NoGradGuard no_grad;
    at::Tensor t = borrow(handle).detach();
    t = t.to(c10::Device(c10::DeviceType::CPU), static_cast<c10::ScalarType>(dtype)).contiguous();
    if (static_cast<int64_t>(t.nbytes()) != bytes) {
      throw std::invalid_argument("tensor has " + std::to_string(t.nbytes()) + " bytes, buffer " + std::to_string(bytes));
    }
    if (bytes > 0) std::memcpy(dst, t.data_ptr(), bytes);
    return int64_t{0};
  });
}

int64_t pf_backward(uint64_t root, uint64_t gradient, int64_t retain_graph, int64_t create_graph, char* err) {
  return guarded(err, [&] {
    torch::autograd::variable_list gradients;
    if (gradient != 0) gradients.push_back(borrow(gradient));
    WithoutAutocast guard;
    torch::autograd::backward({borrow(root)}, gradients, retain_graph != 0, create_graph != 0);
    return int64_t{0};
  });
}

// pf_grad writes one handle per input; zero where an input was not used.
int64_t pf_grad(const uint64_t* outputs, int64_t noutputs, const uint64_t* inputs, int64_t ninputs,
                const uint64_t* gradients, int64_t ngradients, int64_t retain_graph, int64_t create_graph,
                int64_t allow_unused, uint64_t* out, char* err) {
  return guarded(err, [&] {
    WithoutAutocast guard;
    auto found = torch::autograd::grad(borrow_all(outputs, noutputs), borrow_all(inputs, ninputs),
                                       borrow_all(gradients, ngradients), retain_graph != 0,
                                       create_graph != 0, allow_unused != 0);
    for (int64_t i = 0; i < ninputs; i++) out[i] = hand_out(found[i]);
    return int64_t{0};
  });
}

int64_t pf_set_requires_grad(uint64_t handle, int64_t on, char* err) {
  return guarded(err, [&] {
    borrow(handle).set_requires_grad(on != 0);
    return int64_t{0};
  });
}

int64_t pf_gradient(uint64_t handle, uint64_t* out, char* err) {
  return guarded(err, [&] {
    *out = hand_out(borrow(handle).grad());
    return int64_t{0};
  });
}

// pf_set_gradient checks what libtorch's own setter for C++ does not: an
// optimizer's kernels believe that a gradient is like its parameter.
int64_t pf_set_gradient(uint64_t handle, uint64_t gradient, char* err) {
  return guarded(err, [&] {
    at::Tensor t = borrow(handle), g = borrow(gradient);
    if (g.defined() && (g.sizes() != t.sizes() || g.scalar_type() != t.scalar_type() || g.device() != t.device())) {
      throw std::invalid_argument("a gradient has its tensor's shape, type and device");
    }
    t.mutable_grad() = g;
    return int64_t{0};
  });
}

// pf_drop_gradients drops the accumulated gradient of every leaf among tensors.
int64_t pf_drop_gradients(const uint64_t* handles, int64_t n, char* err) {
  return guarded(err, [&] {
    for (int64_t i = 0; i < n; i++) {
      at::Tensor t = borrow(handles[i]);
      if (t.is_leaf() && t.requires_grad()) t.mutable_grad() = at::Tensor();
    }
    return int64_t{0};
  });
}

// pf_set_grad_mode acts on the calling thread and returns what was set before.
int64_t pf_set_grad_mode(int64_t on) {
  bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(on != 0);
  return before;
}

// pf_default_threads is libtorch's own choice: one for each core.
int64_t pf_default_threads() { return at::intraop_default_num_threads(); }

// pf_enter_thread readies the calling thread: gradients on, and `threads`
// intra-op threads. OpenMP keeps its setting per thread, and libtorch copies a
// process-wide one over it at a thread's first parallel loop; so that first time
// is brought forward here, or another session's setting could replace ours.
int64_t pf_enter_thread(int64_t threads, char* err) {
  return guarded(err, [&] {
    c10::GradMode::set_enabled(true);
    at::internal::lazy_init_num_threads();
    at::set_num_threads(static_cast<int>(threads));
    set_blas_threads(static_cast<int>(threads));
    return static_cast<int64_t>(at::get_num_threads());
  });
}

int64_t pf_device_count(int64_t type) {
  auto t = static_cast<c10::DeviceType>(type);
  if (t == c10::DeviceType::CPU) return 1;
  if (!c10::impl::hasDeviceGuardImpl(t)) return 0;
  return c10::impl::getDeviceGuardImpl(t)->deviceCount();
}

int64_t pf_synchronize(uint64_t device, char* err) {
  return guarded(err, [&] {
    c10::Device d = device_of(device);
    if (d.is_cpu()) return int64_t{0};
    c10::impl::VirtualGuardImpl guard(d.type());
    guard.synchronizeStream(guard.getStream(d));
    return int64_t{0};
  });
}

// pf_memory writes allocated, peak allocated, reserved and peak reserved bytes
// of a CUDA device. Returns 1 when there are such figures, 0 when not.
int64_t pf_memory(int64_t index, uint64_t* out, char* err) {
  return guarded(err, [&]() -> int64_t {
#ifdef PF_CUDA_TOOLKIT
    auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
    out[0] = static_cast<uint64_t>(stats.allocated_bytes[0].current);
    out[1] = static_cast<uint64_t>(stats.allocated_bytes[0].peak);
    out[2] = static_cast<uint64_t>(stats.reserved_bytes[0].current);
    out[3] = static_cast<uint64_t>(stats.reserved_bytes[0].peak);
    return 1;
#else
    (void)index;
    (void)out;
    return 0;
#endif
  });
}

int64_t pf_empty_cache(char* err) {
  return guarded(err, [&]() -> int64_t {
#ifdef PF_CUDA_TOOLKIT
    c10::cuda::CUDACachingAllocator::emptyCache();
#endif
    return 0;
  });
}

// A new generator is a reseeded copy of the device's default one: that needs no
// header of the device's toolkit. The empty tensor makes sure that the device
// is initialised.
int64_t pf_new_generator(uint64_t device, uint64_t seed, uint64_t* out, char* err) {
  return guarded(err, [&] {
    c10::Device d = device_of(device);
    at::empty({0}, at::TensorOptions().device(d));
    at::Generator original = at::globalContext().defaultGenerator(d);
    at::Generator g;
    {
      std::lock_guard<std::mutex> lock(original.mutex());
      g = original.clone();
    }
    g.set_current_seed(seed);
    *out = reinterpret_cast<uint64_t>(g.unsafeReleaseGeneratorImpl());
    return int64_t{0};
  });
}

void pf_release_generator(uint64_t handle) {
  GeneratorPtr::reclaim(reinterpret_cast<c10::GeneratorImpl*>(handle));
}

int64_t pf_seed_generator(uint64_t handle, uint64_t seed, char* err) {
  return guarded(err, [&] {
    at::Generator g = borrow_generator(handle);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_current_seed(seed);
    return int64_t{0};
  });
}

int64_t pf_generator_state(uint64_t handle, void* dst, int64_t capacity, char* err) {
  return guarded(err, [&] {
    at::Generator g = borrow_generator(handle);
    std::lock_guard<std::mutex> lock(g.mutex());
    at::Tensor state = g.get_state();
    int64_t n = static_cast<int64_t>(state.nbytes());
    if (n <= capacity) std::memcpy(dst, state.data_ptr(), n);
    return n;
  });
}

int64_t pf_set_generator_state(uint64_t handle, const void* src, int64_t bytes, char* err) {
  return guarded(err, [&] {
    at::Tensor state = at::empty({bytes}, at::TensorOptions().dtype(c10::ScalarType::Byte));
    std::memcpy(state.data_ptr(), src, bytes);
    at::Generator g = borrow_generator(handle);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_state(state);
    return int64_t{0};
  });
}

int64_t pf_set_deterministic(int64_t on, char* err) {
  return guarded(err, [&] {
    at::globalContext().setDeterministicAlgorithms(on != 0, false);
    return int64_t{0};
  });
}

// pf_allow_tf32 lets matrix products and cuDNN on CUDA round their float32
// operands to ten bits of mantissa. Process-wide.
int64_t pf_allow_tf32(int64_t on, char* err) {
  return guarded(err, [&] {
    at::globalContext().setAllowTF32CuBLAS(on != 0);
    at::globalContext().setAllowTF32CuDNN(on != 0);
    return int64_t{0};
  });
}

// pf_enter_autocast switches mixed precision on for the calling thread, to
// `dtype` on devices of `type`. `before` gets two words for pf_leave_autocast.
// libtorch's cache of parameters that were cast does not know to what, so it is
// cleared on the way in and out; after a step they have other values besides.
int64_t pf_enter_autocast(int64_t type, int64_t dtype, uint64_t* before, char* err) {
  return guarded(err, [&] {
    auto device = static_cast<c10::DeviceType>(type);
    before[0] = autocast::enabled(device, 0);
    before[1] = static_cast<uint64_t>(autocast::dtype(device, 0));
    autocast::set_dtype(device, static_cast<c10::ScalarType>(dtype), 0);
    autocast::enable(device, true, 0);
    at::autocast::increment_nesting();
    at::autocast::clear_cache();
    return int64_t{0};
  });
}

int64_t pf_leave_autocast(int64_t type, const uint64_t* before, char* err) {
  return guarded(err, [&] {
    auto device = static_cast<c10::DeviceType>(type);
    at::autocast::decrement_nesting();
    at::autocast::clear_cache();
    autocast::enable(device, before[0] != 0, 0);
    autocast::set_dtype(device, static_cast<c10::ScalarType>(before[1]), 0);
    return int64_t{0};
  });
}

// pf_can_capture is 1, or 0 with the reason in err.
int64_t pf_can_capture(char* err) {
  set_error(err, DeviceCapture::why_not());
  return *DeviceCapture::why_not() == 0;
}

int64_t pf_new_graph(uint64_t device, uint64_t* out, char* err) {
  return guarded(err, [&] {
    *out = reinterpret_cast<uint64_t>(new Graph(device_of(device)));
    return int64_t{0};
  });
}

// pf_release_graph waits for the device: what is freed may be running.
void pf_release_graph(uint64_t graph) {
  std::unique_ptr<Graph> g(graph_of(graph));
  char ignored[kErrorBytes];
  guarded(ignored, [&] {
    g->guard.synchronizeStream(g->guard.getStream(g->device));
    g->guard.synchronizeStream(g->side);
    return int64_t{0};
  });
}

int64_t pf_graph_enter(uint64_t graph, char* err) {
  return guarded(err, [&] {
    graph_of(graph)->enter();
    return int64_t{0};
  });
}

int64_t pf_graph_leave(uint64_t graph, char* err) {
  return guarded(err, [&] {
    graph_of(graph)->leave();
    return int64_t{0};
  });
}

// pf_graph_begin starts to capture what is queued from here on, between
// pf_graph_enter and pf_graph_leave.
int64_t pf_graph_begin(uint64_t graph, uint64_t generator, char* err) {
  return guarded(err, [&] {
    Graph* g = graph_of(graph);
    g->generator = borrow_generator(generator);
    g->capture.begin(g->device, g->generator);
    return int64_t{0};
  });
}

// pf_graph_end ends the capture, with `keep` zero in order to forget it. Failing
// it leaves allocator and generators as they were before the capture.
int64_t pf_graph_end(uint64_t graph, int64_t keep, char* err) {
  return guarded(err, [&] {
    Graph* g = graph_of(graph);
    g->capture.end(g->device, g->generator, keep != 0);
    return int64_t{0};
  });
}

int64_t pf_graph_replay(uint64_t graph, char* err) {
  return guarded(err, [&] {
    graph_of(graph)->capture.replay();
    return int64_t{0};
  });
}

// pf_build_info: the version on the first line, then libtorch's own account of
// how it was built.
int64_t pf_build_info(char* dst, int64_t capacity, char* err) {
  return guarded(err, [&] { return copy_text(std::string(TORCH_VERSION) + "\n" + at::show_config(), dst, capacity); });
}

}  // extern "C"
