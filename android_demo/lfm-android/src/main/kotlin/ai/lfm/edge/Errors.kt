package ai.lfm.edge

/**
 * The one family of errors that LFM Edge raises for a user's mistake.
 *
 * Every message is one line: what was wrong, where, what was expected, what to do. Names and texts
 * are those of the Python SDK. Anything that is no [LfmError] is a bug of ours.
 */
public sealed class LfmError(message: String) : RuntimeException(message)

/** A bundle is missing, incomplete, malformed or fails to run. */
public open class BundleError(message: String) : LfmError(message)

/** A bundle was written for a format or a target that this version cannot run. */
public class UnsupportedBundleError(message: String) : BundleError(message)

/** A file of a bundle differs from its manifest, or the graph misses a golden vector. */
public class IntegrityError(message: String) : BundleError(message)

/** An argument is out of range: an empty prompt, a negative temperature; or something is closed. */
public open class InvalidRequestError(message: String) : LfmError(message)

/** A token id lies outside the model's vocabulary. */
public class UnknownTokenError(message: String) : InvalidRequestError(message)

/** A session's capacity does not hold the tokens that were asked for. */
public class ContextFullError(message: String) : LfmError(message)

/** A saved session cannot be written, is missing or damaged, or is another bundle's. */
public class SessionFileError(message: String) : LfmError(message)

/** An answer cannot go on: something else has used its session since it began. */
public class SessionTakenError(message: String) : LfmError(message)

/** A chat template is missing, malformed or refused the messages. */
public class TemplateError(message: String) : LfmError(message)

/** There is no memory for what was asked for; what was there before is as it was. */
public class NoMemoryError(message: String) : LfmError(message)
