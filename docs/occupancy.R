# Occupancy and rates from the tables of `loxo report`, in R.
#
#   Rscript occupancy.R runs/march/report rumble
#
# The first argument is the name of the report without .html, the second a label. Only base R is needed. If the package
# `unmarked` is installed, its model is fitted too. Change the covariates for your own question.

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 2) stop("Give the name of the report without .html, and a label.")
table <- read.csv(paste0(arguments[1], ".occasions.csv"), na.strings = "NA", stringsAsFactors = FALSE)
table <- table[table$label == arguments[2], ]
if (nrow(table) == 0) stop("The table has no rows with the label ", arguments[2], ".")
if (any(table$basis == "listed")) {
  warning("No event was reviewed: false positives count as detections. Run `loxo review` first.", call. = FALSE)
}

# Matrices of sites (rows) and occasions (columns)
as_matrix <- function(values) tapply(values, list(table$site, table$occasion), function(x) x[1])
detected <- as_matrix(table$detected)   # 0, 1, or NA without effort
hours <- as_matrix(table$analysed_h)
effort <- log(pmax(hours, 0.01))
effort <- effort - mean(effort[hours > 0])

# Occupancy with one season (MacKenzie et al. 2002): psi is the probability that a site is used, p the probability of a
# detection at a used site in an occasion; p depends on the effort. `used` sites have at least one detection.
negative_log_likelihood <- function(parameters) {
  psi <- plogis(parameters[1])
  p <- plogis(parameters[2] + parameters[3] * effort)
  likelihood <- ifelse(is.na(detected), 1, ifelse(detected == 1, p, 1 - p))
  used <- rowSums(detected, na.rm = TRUE) > 0
  -sum(log(psi * apply(likelihood, 1, prod) + (1 - psi) * !used))
}
prior <- function(parameters) sum(parameters^2) / (2 * 3^2)   # weak: keeps estimates finite with few sites
fit <- optim(c(0, 0, 0), function(x) negative_log_likelihood(x) + prior(x), method = "BFGS", hessian = TRUE)
error <- sqrt(diag(solve(fit$hessian)))
limits <- function(k) plogis(fit$par[k] + c(0, -1.96, 1.96) * error[k])
cat(sprintf("sites %d, occasions %d\n", nrow(detected), ncol(detected)))
cat(sprintf("psi %.3f (%.3f to %.3f)\n", limits(1)[1], limits(1)[2], limits(1)[3]))
cat(sprintf("p %.3f (%.3f to %.3f)\n", limits(2)[1], limits(2)[2], limits(2)[3]))

# A rate model: true events per hour by site. Counts with an interval exist only after a review.
counted <- table[!is.na(table$estimate) & table$analysed_h > 0, ]
if (nrow(counted) > 0) {
  sites <- if (length(unique(counted$site)) > 1) "site" else "1"
  formula <- as.formula(paste("round(estimate) ~", sites, "+ offset(log(analysed_h))"))
  model <- glm(formula, family = quasipoisson, data = counted)
  cat("events per hour of sound, as logarithms:\n")
  print(summary(model)$coefficients)
}

if (requireNamespace("unmarked", quietly = TRUE)) {
  frame <- unmarked::unmarkedFrameOccu(y = detected, obsCovs = list(effort = effort))
  print(unmarked::occu(~ effort ~ 1, frame))
}
