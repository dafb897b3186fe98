// All words of the page, in each language. A language is added by a table here.

const en = {
  name: "English",
  page: "Predict",
  model: "Model",
  version: "version {version}",
  input: "Input",
  answer: "Answer",
  predict: "Predict",
  predicting: "Predicting…",
  example: "Try an example",
  clear: "Clear",
  explain: "Show the reason",
  nothingYet: "The answer appears here.",
  tryOne: "Fill in the input, or try an example.",
  optional: "optional",

  drop: "Drop an image here, paste it, or",
  pick: "Choose a file",
  camera: "Take a picture",
  shutter: "Take the picture",
  cancel: "Cancel",
  noCamera: "The camera cannot be used: {reason}",
  preview: "The chosen image",
  imageSize: "{width} × {height} pixels, {size} kB",
  submitHint: "Ctrl + Enter predicts.",
  none: "not given",
  choose: "Choose…",
  yes: "yes",
  no: "no",
  add: "Add",
  remove: "Remove {item}",
  suggestions: "Suggestions",
  nullable: "A field that stays empty counts as not known.",
  emptyList: "Nothing added yet.",
  range: "{low} to {high} {unit}",
  atLeast: "at least {low} {unit}",
  atMost: "at most {high} {unit}",

  missing: "This is needed.",
  nothingGiven: "Fill in something first.",
  notANumber: "Enter a number.",
  notWhole: "Enter a whole number.",
  tooLow: "At least {low} {unit}.",
  tooHigh: "At most {high} {unit}.",
  notADate: "Enter a date.",
  notAnImage: "This file is not an image.",
  wrongFields: "Please correct the marked fields.",

  probabilities: "Probabilities",
  ranking: "Recommendations",
  score: "score {score}",
  nothingLeft: "There is nothing left to recommend.",
  noClass: "(none)",
  showAll: "Show all {count}",
  risk: "Risk",
  operatingPoint: "operating point {point}",
  riskAbove: "At or above the operating point of {point}: {prediction}",
  riskBelow: "Below the operating point of {point}: {prediction}",
  provenance: "model {model} · schema {schema}",

  reason: "Why",
  reasonOf: "Why {target}",
  speaksFor: "speaks for it",
  speaksAgainst: "speaks against it",
  raises: "raises the risk",
  lowers: "lowers the risk",
  heatmap: "Where the image speaks for {target}",
  showHeatmap: "Show the heatmap",
  strongest: "Strongest parts",
  because: "because of",
  method: "How this was made: {method}",
  rough: "These values are rough: they add up to within {error}.",

  rightQuestion: "Is this right?",
  right: "Yes, right",
  wrong: "No, wrong",
  whatIsRight: "What would have been right? (optional)",
  iDoNotKnow: "I do not know",
  sendVerdict: "Send",
  kept: "Thank you. It is kept by this service for the next training.",
  keptPrivate: "Thank you. Only the verdict and the model are kept, nothing of the patient.",
  privateHint: "Only the verdict and the model are kept, nothing of the patient.",

  history: "Asked before",
  historyHint: "Kept in this tab only; forgotten when it is closed or loaded again.",
  forget: "Forget all",
  showAgain: "Show again: {input}, {prediction}",
  image: "image",
  copyCurl: "Copy as curl",
  copied: "Copied",
  curlImage: "The command sends the file named “image”.",
  curlText: "Copy this command",

  privacy: "Inputs go to this service and nowhere else.",
  api: "Description of the API",
  keyTitle: "This service needs a key",
  keyHint: "It is kept until this tab is closed, and sent to this service only.",
  key: "API key",
  useKey: "Use the key",
  keyWrong: "The service does not know this key.",
  keyNeeded: "The service needs a valid key.",
  tooLarge: "This is larger than the service accepts.",
  loading: "The model is being loaded…",
  busy: "The service is busy or not ready; try again in a moment.",
  slow: "The service took too long; try again.",
  unreachable: "The service cannot be reached.",
  failed: "The service failed ({status}).",
};

const zh = {
  name: "中文",
  page: "预测",
  model: "模型",
  version: "版本 {version}",
  input: "输入",
  answer: "结果",
  predict: "预测",
  predicting: "正在预测…",
  example: "试用示例",
  clear: "清空",
  explain: "显示依据",
  nothingYet: "结果会显示在这里。",
  tryOne: "请填写输入内容，或试用一个示例。",
  optional: "选填",

  drop: "将图片拖到此处、直接粘贴，或者",
  pick: "选择文件",
  camera: "拍照",
  shutter: "按下快门",
  cancel: "取消",
  noCamera: "无法使用摄像头：{reason}",
  preview: "已选择的图片",
  imageSize: "{width} × {height} 像素，{size} kB",
  submitHint: "按 Ctrl + Enter 即可预测。",
  none: "未填写",
  choose: "请选择…",
  yes: "是",
  no: "否",
  add: "添加",
  remove: "移除 {item}",
  suggestions: "建议",
  nullable: "留空的字段将视为未知。",
  emptyList: "尚未添加。",
  range: "{low} 至 {high} {unit}",
  atLeast: "不小于 {low} {unit}",
  atMost: "不大于 {high} {unit}",

  missing: "此项必填。",
  nothingGiven: "请先填写内容。",
  notANumber: "请输入数字。",
  notWhole: "请输入整数。",
  tooLow: "不得小于 {low} {unit}。",
  tooHigh: "不得大于 {high} {unit}。",
  notADate: "请输入日期。",
  notAnImage: "该文件不是图片。",
  wrongFields: "请更正标出的字段。",

  probabilities: "概率",
  ranking: "推荐结果",
  score: "得分 {score}",
  nothingLeft: "没有可推荐的内容了。",
  noClass: "（无）",
  showAll: "显示全部 {count} 项",
  risk: "风险",
  operatingPoint: "判定阈值 {point}",
  riskAbove: "达到或高于判定阈值 {point}：{prediction}",
  riskBelow: "低于判定阈值 {point}：{prediction}",
  provenance: "模型 {model} · 数据结构 {schema}",

  reason: "依据",
  reasonOf: "为什么是 {target}",
  speaksFor: "支持该结果",
  speaksAgainst: "不支持该结果",
  raises: "提高风险",
  lowers: "降低风险",
  heatmap: "图片中支持“{target}”的区域",
  showHeatmap: "显示热力图",
  strongest: "影响最大的部分",
  because: "因为",
  method: "计算方法：{method}",
  rough: "这些数值较为粗略：合计误差不超过 {error}。",

  rightQuestion: "这个结果正确吗？",
  right: "正确",
  wrong: "不正确",
  whatIsRight: "正确答案是什么？（选填）",
  iDoNotKnow: "我不清楚",
  sendVerdict: "提交",
  kept: "谢谢！反馈已保存在本服务中，供下次训练使用。",
  keptPrivate: "谢谢！仅保存评价和模型信息，不保存任何患者信息。",
  privateHint: "仅保存评价和模型信息，不保存任何患者信息。",

  history: "历史记录",
  historyHint: "仅保存在当前标签页中，关闭或刷新后即清除。",
  forget: "全部清除",
  showAgain: "再次显示：{input}，{prediction}",
  image: "图片",
  copyCurl: "复制为 curl 命令",
  copied: "已复制",
  curlImage: "该命令会发送名为“image”的文件。",
  curlText: "请复制此命令",

  privacy: "输入内容只会发送到本服务，不会发往任何其他地方。",
  api: "API 说明",
  keyTitle: "本服务需要密钥",
  keyHint: "密钥仅保留到关闭此标签页为止，且只会发送给本服务。",
  key: "API 密钥",
  useKey: "使用该密钥",
  keyWrong: "密钥无效。",
  keyNeeded: "需要有效的密钥。",
  tooLarge: "内容超出本服务允许的大小。",
  loading: "模型正在加载…",
  busy: "服务繁忙或尚未就绪，请稍后再试。",
  slow: "服务响应超时，请重试。",
  unreachable: "无法连接到服务。",
  failed: "服务出错（{status}）。",
};

// Sentences of models that are the same in each project; any other is shown as the service says it.
const SENTENCES = {
  zh: {
    "Not a medical device: for research and development, not for decisions about patients.":
      "非医疗器械：仅供研究与开发使用，不得用于对患者的任何诊疗决策。",
    Image: "图片",
    Text: "文本",
    User: "用户",
    History: "历史",
    "Only these": "仅限以下项目",
    "Number of recommendations": "推荐数量",
    "A known user; without a history it is looked up.": "已知用户；未填写历史时自动查找。",
    "Items, the oldest first; an empty list for a new user.": "按时间先后排列的项目；新用户可留空。",
    "Items to choose from; all if there are none.": "从这些项目中推荐；留空则为全部项目。",
    "there is no history": "没有历史记录",
    "this model does not read the history: it knows users by their id":
      "该模型不读取历史记录，仅通过编号识别用户",
    "no place speaks for it": "没有支持该结果的区域",
    "Grad-CAM: places of the last feature map that speak for the class":
      "Grad-CAM：最后一层特征图中支持该类别的位置",
    "integrated gradients: pixels that speak for the class, compared with a plain image":
      "积分梯度：与纯色图片相比，支持该类别的像素",
    "integrated gradients: log-odds added to those of the average patient":
      "积分梯度：相对于平均患者增加的对数几率",
    "integrated gradients: log-odds added to those of the average patient, before recalibration":
      "积分梯度：相对于平均患者增加的对数几率（重新校准之前）",
    "Shapley values: what an item of the history adds to the logarithm of the probability that the recommended one comes next, compared with no history":
      "Shapley 值：与没有历史相比，历史中的每个项目使“接下来就是所推荐项目”的概率的对数增加多少",
  },
};

// Sentences with something of the answer in them.
const PATTERNS = {
  zh: [
    [/^looks at the (top|middle|bottom) (left|centre|right) most \((.+)\)$/,
      (_, row, column, share) => `主要关注${PLACES[row]}${PLACES[column]}区域（${share}）`],
    [/^(.+): what a token adds to the class's logit, compared with an unknown one$/,
      (_, method) => `${TOKENS[method] ?? method}：与未知词相比，每个词使该类别的 logit 增加多少`],
    [/^A (.+) file of at most (\d+) megapixels\.$/,
      (_, formats, most) => `${formats.replace(" or ", "、").replaceAll(", ", "、")} 文件，最多 ${100 * most} 万像素。`],
    [/^At most ([\d,]+) characters; the first (\d+) tokens count\.$/,
      (_, most, tokens) => `最多 ${most} 个字符；仅使用前 ${tokens} 个词元。`],
  ],
};
const PLACES = { top: "上方", middle: "中部", bottom: "下方", left: "偏左", centre: "居中", right: "偏右" };
const TOKENS = {
  "integrated gradients of the tokens' embeddings": "词嵌入的积分梯度",
  "weights of the n-grams, shared by their tokens": "n 元组的权重，由其中的词分摊",
};

const TABLES = { en, zh };
const LOCALES = { en: "en", zh: "zh-CN" };
const STORED = "language"; // in sessionStorage

const preference = sessionStorage.getItem(STORED) ?? navigator.language;
let language = preference.startsWith("zh") ? "zh" : "en";

export const otherLanguage = () => (language === "en" ? "zh" : "en");
export const nameOf = name => TABLES[name].name;
export const localeOf = name => LOCALES[name];

export function setLanguage(name) {
  language = name;
  sessionStorage.setItem(STORED, name);
}

/** A text in the current language, with {name} replaced by values. */
export const t = (name, values = {}) =>
  TABLES[language][name].replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? "").trim();

/** A sentence of the service: translated where it is known. */
export function translate(sentence = "") {
  const known = SENTENCES[language]?.[sentence];
  if (known !== undefined) return known;
  const [pattern, write] = (PATTERNS[language] ?? []).find(([pattern]) => pattern.test(sentence)) ?? [];
  return pattern ? sentence.replace(pattern, write) : sentence;
}

/** Add words of another page: language -> name -> text. */
export function addTexts(tables) {
  for (const [name, words] of Object.entries(tables)) Object.assign(TABLES[name], words);
}

/** Put the words of the current language into all elements that name one. */
export function translatePage() {
  document.documentElement.lang = LOCALES[language];
  const other = otherLanguage(); // the button says what it changes to
  const button = document.getElementById("language");
  button.textContent = nameOf(other);
  button.lang = localeOf(other);
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
}

const format = (value, options) => new Intl.NumberFormat(LOCALES[language], options).format(value);

export function formatPercent(share) {
  const options = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
  if (share > 0 && share < 0.0005) return `< ${format(0.001, options)}`;
  if (share < 1 && share > 0.9995) return `> ${format(0.999, options)}`;
  return format(share, options);
}

export const formatNumber = value => format(value, { maximumSignificantDigits: 4 });

export const formatSigned = value => format(value, {
  signDisplay: "exceptZero",
  ...(Math.abs(value) < 0.1 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 }),
});

export const formatTime = time =>
  new Intl.DateTimeFormat(LOCALES[language], { timeStyle: "medium" }).format(time);
