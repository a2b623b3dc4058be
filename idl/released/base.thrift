# What every Tidings service shares: one error shape and one health question.
#
# Numbers and names here are a promise to programs in other languages. Add fields with new
# numbers; never change or reuse one. `make idl-audit` compares this folder with idl/released/.
namespace py tidings_idl.base
namespace java org.tidings.idl.base
namespace go tidings.base
namespace cpp tidings.base
namespace php Tidings.Base
namespace rb Tidings.Base
namespace perl Tidings.Base
namespace js TidingsBase

/**
 * The one declared failure of every method. Anything else a caller can see is either a
 * TApplicationException (a fault of the server's, with nothing internal in it) or a broken connection.
 */
exception Error {
  /** The HTTP status that fits: 400 and 422 are the caller's fault, 404 is expected, 503 means "try again". */
  1: i32 code
  /** One sentence that is safe to show to a person. */
  2: string message
  /** Field name to the reason it was refused. Empty when no single field is at fault. */
  3: map<string, string> details
  /** True when the same call may succeed at once elsewhere, or here a little later. Absent means false. */
  4: optional bool retryable
} (python.immutable = "false")

/** What a health question is about. */
enum HealthProbe {
  /** May this process be sent work now? False while it starts, drains or is overloaded. */
  READINESS = 1
  /** Is this process alive? False means: restart it. */
  LIVENESS = 2
  /** Has this process finished starting? */
  STARTUP = 3
}

/** Every Tidings service answers these. */
service BaseService {
  /** True or false, and never an Error. It looks at this process's own state, not at its neighbours'. */
  bool is_healthy(1: HealthProbe probe)
}
