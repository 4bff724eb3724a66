"""Every command and every option, once, as a text that reads like its own help.

A line without indentation names a command, the module that runs it, and says what it does; one that
begins with ``@`` names a section that several commands share. Below stand its items, one a line
(deeper lines go on with it):

``--flag --alias METAVAR =default !  help``
    An option with a value; ``{a,b}`` instead of METAVAR lists its choices, ``!`` requires it.
    Without a METAVAR the option is a switch.
``name METAVAR+  help``
    A positional argument: ``+`` one or more, ``*`` any number.
``@section``, ``[title]``, ``[]``, ``or --flag``
    The items of a section; a group of the help; its end; an option that excludes the others of
    this kind.
"""

SECTIONS = r"""
@json
  --json  print one strict JSON record instead
@network
  [network]
  or --branch OPS  operations of the branch in data-flow order, such as
    'linear(1, 0.1), tanh, linear(1.2, 0)'; instead of activation and variances
  --post-norm OP  norm behind every block, 'RMSNorm(0.1)'
  --layers LAW  covariance of weights between blocks: 'FractionalBrownian(0.8)',
    'Smooth(rbf, 0.01)', 'Markov(0.5)', or a .npy or .csv file with the matrix (default:
    independent)
  --positions P  positions of every input, 16 or 4x4, for branches with 'Conv[-1 0 1](2, 0)'; K0 is
    then the matrix of all columns
  or --activation NAME =erf_unit  identity erf erf_unit relu leaky_relu tanh gelu silu sin sign, or
    an expression in x such as 'x*tanh(x)' (default: erf_unit, the error function with slope 1)
  --rho --scale RHO  residual scale: number, list a,b,c or range first:last:count, or an expression
    in the depth, '1/sqrt(L)'
  --depth L  number of blocks; a list or range gives one answer per depth
  --weight-variance V  sigma_w^2, weight variance times width: number, list a,b,c or range
    first:last:count
  --bias-variance V  sigma_b^2: number, list a,b,c or range first:last:count
  --read-out-variance V  weight variance of a linear read-out (no bias)
  [inputs]
  --K0 K  covariance kernel of the inputs: a number, a list or range, or a matrix 'a,b;c,d'
  --inputs FILE  .npy or .csv with one input per row; gives the kernel. The command kernel also
    takes 'batch' (with --K0 of a batch: BatchNorm) and 'masks' (two draws of dropout)
  []
  --read-in-variance V  with --inputs: weight variance of the read-in (default 1)
  @json
@width
  --width N  neurons per layer
@target
  --target {cpu,cuda,auto} =cpu  where the numbers are computed; auto takes a GPU if there is one
    and says what it took, 'resexpand doctor' says what works
@kind
  --kind {variance,covariance,tangent} =variance  which response
@order
  --order K =3  highest order (default 3)
@trained
  --trained LIST =read-in,weights,biases,read-out  parameters that are trained
  --parametrisation {ntk,standard} =ntk  weights as multiples of parameters of unit variance, or the
    parameters themselves, which needs --width
  @width
@sampling
  [sampling]
  @width
  --draws R  number of networks
  --seed S =0  non-negative integer (default 0)
  --workers W  threads; the result does not depend on it (default: all)
@execution
  --until EPS  stop where every standard error is below this share of its mean, such as 0.1%%;
    --draws is the most then (runs resume: as before, unless given)
  --wait  wait for another process that uses the store
  --progress  report progress also where there is no terminal
"""

COMMANDS = r"""
validate validate_command Derive, compile, sample and compare; writes figure, LaTeX and JSON.
    Without options: the response function of the unit-slope error function. Here --rho, --depth and
    --width list what is sampled.
  @network
  @sampling
  --dense-width N  width where every weight is drawn
  --dense-draws R  number of such networks per scale
  --resolve D  deviation relative to the largest response that must be detectable (default 0.05)
  --store FOLDER  keep finished samples here and resume from them
  []
  --out FOLDER =resexpand-validation  folder to write
expand expand_command Expansion of a network in its scales: terms, counts, and a bound of what is
    neglected.
  @json
  @order
  --blocks N  number of blocks, or expressions in x such as 'sin(x); x**2/2' (default: the symbol n,
    one term per tree)
  --scales --scale LIST  one for all or one per block: numbers, expressions in n such as 1/sqrt(n),
    or a name (default: symbols)
  --depth N  count the terms of this many blocks: a number, list or range
  --family {analytic,entire} =analytic  bounds M m!/R^m or M/R^m on the m-th derivatives of the
    blocks
  --bounds M,R  their numbers (default: symbols)
  --basis {taylor,paths} =taylor  powers of the scales, or gated paths for piecewise-linear blocks
  --activation NAME  with --basis paths: the activation (default: relu)
  --latex  print LaTeX instead of text
  --style {equation,aligned,document} =aligned  with --latex; document compiles by itself
  --out FILE  write a picture (.svg .pdf .png) or a document (.tex)
  --figure {trees,counts} =trees  the picture: terms beside their trees, or their number over depth
tangent-kernel tangent_command Neural tangent kernel at infinite width, with the shares of the
    layers.
  @network
  @trained
  @target
predict tangent_command Mean and deviation of infinitely wide networks that are trained on data.
    The training inputs are those of --inputs. With lists or ranges of hyperparameters and --kind
    nngp: the log marginal likelihood at each of them.
  @network
  --targets FILE !  .npy or .csv, a number or row per input
  --test FILE  test inputs, .npy or .csv (default: the training inputs)
  --kind {ntk,nngp} =ntk  all of --trained is trained by gradient flow, or the read-out alone; at
    infinite time the second is the Bayesian posterior
  --time T  time of training, or a list (default: until it has settled)
  --ridge R =0  added to the diagonal of the training kernel
  @trained
kernel theory_commands Covariance kernel over the layers at infinite width.
  @network
  @target
response theory_commands Response function: how a change of the input kernel travels.
  @network
  @kind
  --width N  neurons per layer: mean and standard deviation of the response to order 1/N
  @target
optimal-scale theory_commands Residual scale at which the response is largest, or why there is none.
  @network
  @kind
  --width N  neurons per layer: how far this width moves the optimum to order 1/N
  @target
one-loop one_loop_command Order 1/N: how a finite width shifts the kernel and makes it fluctuate.
  @network
  --width N  neurons per layer, or a list: absolute values, and where they can be trusted; without
    it the coefficients of 1/N
  --out STEM  with --width: draw the kernel and its fluctuations to STEM.pdf and STEM.png
order-profile profile_command Share of each order of the residual expansion at infinite width.
    Here --rho may depend on the depth: --rho '1/L,1/sqrt(L)' follows two scalings (default
    1/sqrt(L)).
  @network
  @order
  --basis {taylor,chaos,paths} =taylor  powers of the scale, degrees in the weights, or path lengths
  --remainder  also what the orders leave out of the state
  --out STEM  draw the shares over --depth to STEM.pdf and STEM.png
sample sample_command Sample networks of finite width, with standard errors.
  @network
  @sampling
  --method {auto,function-space,dense,cholesky,basis,markov} =auto  exact in law either way; dense
    draws every weight, auto only where it must
  @target
  --weights LAW =gaussian  gaussian, uniform, rademacher, orthogonal, or the inverse distribution
    function of independent weights as an expression in u, 0 < u < 1
  --observables LIST =kernel  of kernel, layer_covariance, output, output_squared, output_variance,
    chi, response, covariance_response, tangent, distance, distance_squared, residual_ratio,
    residual_share, log_kernel, log_growth, log_tangent, gradient, gradient_overlap, log_gradient,
    directional_derivative, ntk, ntk_layers, ntk_moments, gradient_moments(L), order_profile(K),
    order_remainder(K), path_profile(K), path_remainder(K)
  --control {infinite-width}  subtract what a twin of infinite width, driven by the same normals,
    says of kernel and layer_covariance: the same mean from far fewer networks
  --store FILE  keep finished parts here and resume from them
  --shard I/N  draw part I = 0 ... N-1 of N, each into a store of its own; 'runs merge' joins them
  @execution
scales scales_command Residual scales of the literature at one or more depths, with what each leads
    to.
  @network
  --candidates LIST  keys of the candidates, a,b,c (default: all)
  --kind {variance,covariance,tangent}  response of the table (default: variance; tangent where a
    norm forgets the variance)
  --order K =3  first order that counts as high (default 3)
  --share S =0.01  part that high orders may carry, for the candidate path_orders (default 0.01)
  --base-depth L  depth at which training was tuned, for depth_mup and complete_p (default:
    smallest)
  --out STEM  draw the table to STEM.pdf and STEM.png
profile model_command What each residual block of a PyTorch model contributes, token by token.
    The file with the model is run as the Python program it is.
  @json
  model MODEL.py:FACTORY  a Python file and what in it is the model, or a function without arguments
    that returns it
  --batch FILE !  .npy with the input of a call, or .npz with its keywords: input_ids,
    attention_mask
  --train  profile in training mode (default: evaluation)
  --blocks NAMES  modules that are taken as blocks, 'layers.0,layers.1' (default: found)
  --per {token,sample} =token  (default: token)
  --describe  also describe the model, and predict its ratios at initialisation
  --seed S =0  of the model's own noise in training (default 0)
  --save FILE  keep the profile: .npz (everything) or .csv
  --out STEM  draw the ratios over the blocks to STEM.pdf and STEM.png
runs - Stores of runs: what they hold, going on with them, merging, exporting.
runs list runs_command One line per store, in files or folders.
  @json
  stores PATH*  files or folders (default: .)
runs show runs_command What a store holds: plan, networks drawn and asked for, health.
  @json
  store STORE
runs resume runs_command Complete a run from the plan in its store.
  @json
  store STORE
  --draws R  number of networks, if more than before
  --workers W  threads (default: all cores)
  @execution
runs merge runs_command Put the stores of several parts of a run into one.
  @json
  stores STORE+
  --out STORE !  new, or of the same run
runs export runs_command Write the results of a store to a file.
  @json
  store STORE
  --out FILE !  ends in .csv, .npz or (with xarray) .nc
latex latex_command Formulas as LaTeX; what is not given stays a symbol.
  @network
  --of {kernel,pair-kernel,response,optimal-scale,one-loop,finite-response} =response  which
    derivation
  --kind {variance,covariance,tangent,gradient,parameters} =variance  which response
  --style {equation,aligned,document} =aligned  document compiles by itself
  --closed  averages in closed form, where one is known
  --width {page,text,column} =page  break lines for a page, a text of 5.5 inches or a narrow column
  --labels PREFIX  label every equation, such as eq:
  --cite-keys  cite by BibTeX key instead of in words
  --out FILE  write there instead of printing
report report_command Saved results, or a validation, as one page of HTML that needs nothing else.
  @json
  results RESULT+  files that save() wrote, folders that validate wrote
  --title TEXT  heading (default: names of the files)
  --out FILE =report.html  page to write
doctor doctor_command What this machine has, whether each target works here, and what to install if
    not.
  @json
  --target {auto,cpu,cuda} =auto  what must work for the exit code 0; auto: the CPU, and a GPU if
    there is one
operations operations_command Which theory and which sampler takes which operation, found by trying.
  @json
"""
